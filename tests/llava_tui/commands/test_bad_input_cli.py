"""Input that can not be used, at the command line: exit 1, one to three lines, no traceback, nothing left behind."""

from __future__ import annotations

import http.server
import json
import os
import pickle
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.fakes.fake_engine import FakeEngine
from tests.llava_tui.conftest import Llava


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_says(width: int, height: int) -> bytes:
    """A PNG with this size in its header and next to nothing in it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b""))
        + png_chunk(b"IEND", b"")
    )


def truncated(path: Path) -> None:
    Image.effect_noise((200, 200), 80).save(path, "PNG")
    path.write_bytes(path.read_bytes()[:2000])


def too_many_bytes(path: Path) -> None:
    path.write_bytes(png_that_says(10, 10))
    os.truncate(path, 60_000_000)


BAD_PICTURES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "empty": lambda path: path.touch(),
    "truncated": truncated,
    "text": lambda path: path.write_text("not a picture"),
    "program": lambda path: path.write_bytes(b"\x7fELF" + bytes(100)),
    "too many bytes": too_many_bytes,
    "bomb": lambda path: path.write_bytes(png_that_says(30_000, 30_000)),
    "folder": lambda path: path.mkdir(),
    "pipe nobody writes to": lambda path: os.mkfifo(path),
    "link to nowhere": lambda path: path.symlink_to("nowhere.png"),
    "link to itself": lambda path: path.symlink_to(path),
    "vector graphics": lambda path: path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>'),
}


def fails_cleanly(llava: Llava, *arguments: str, home: Path) -> str:
    """Run it; hold what every failure owes; give back what was said."""
    before = sorted(home.rglob("*"))
    done = llava(*arguments)
    assert done.code == 1, done
    assert done.out == ""
    assert 1 <= len(done.err.strip().splitlines()) <= 3, done.err
    assert "Traceback" not in done.err
    assert all(line.isprintable() for line in done.err.splitlines())
    assert sorted(home.rglob("*")) == before
    return done.err


@pytest.mark.parametrize("kind", BAD_PICTURES)
def test_bad_pictures(llava: Llava, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.png"
    BAD_PICTURES[kind](path)
    said = fails_cleanly(llava, "ask", "-i", str(path), "What is this?", home=tmp_path / "home")
    assert "bad.png" in said


def test_a_picture_that_may_not_be_read(llava: Llava, tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(png_that_says(4, 4))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "bad.png" in fails_cleanly(llava, "ask", "-i", str(path), "What?", home=tmp_path / "home")


def test_a_name_can_not_command_the_terminal(llava: Llava, tmp_path: Path) -> None:
    fails_cleanly(llava, "ask", "-i", str(tmp_path / "\x1b]0;owned\x07\nbad.png"), "What?", home=tmp_path / "home")


def test_nothing_on_standard_input(llava: Llava, tmp_path: Path) -> None:
    assert "standard input" in fails_cleanly(llava, "ask", "-i", "-", "What?", home=tmp_path / "home")


class Site(http.server.BaseHTTPRequestHandler):
    """A server that misbehaves by path."""

    def do_GET(self) -> None:
        if self.path == "/html":
            self._answer(200, b"<html>a page</html>", {"Content-Type": "text/html"})
        elif self.path == "/round":
            self._answer(302, b"", {"Location": "/round"})
        elif self.path == "/file":
            self._answer(302, b"", {"Location": "file:///etc/passwd"})
        elif self.path == "/large":
            self._answer(200, b"", {"Content-Type": "image/png", "Content-Length": "60000000"})
        elif self.path == "/half":
            self._answer(200, png_that_says(4, 4)[:20], {"Content-Type": "image/png", "Content-Length": "1000"})
        else:
            self._answer(404, b"", {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("path", ["/html", "/round", "/file", "/large", "/half", "/missing.png"])
def test_bad_urls(llava: Llava, tmp_path: Path, site: str, path: str) -> None:
    fails_cleanly(llava, "ask", "-i", site + path, "What?", home=tmp_path / "home")


def test_nobody_at_the_url(llava: Llava, tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening: refused
        url = f"http://127.0.0.1:{held.getsockname()[1]}/a.png"
        assert "127.0.0.1" in fails_cleanly(llava, "ask", "-i", url, "What?", home=tmp_path / "home")


@pytest.mark.parametrize(
    "url", ["ftp://example.org/a.png", "gopher://example.org/a.png", "file://elsewhere/a.png", "http://"]
)
def test_urls_of_other_kinds(llava: Llava, tmp_path: Path, url: str) -> None:
    fails_cleanly(llava, "ask", "-i", url, "What?", home=tmp_path / "home")


class RunsCode:
    """A pickle that makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._folder),)


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())  # type: ignore[no-any-return]


def change_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def lacks_a_tensor(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors.pop(sorted(tensors)[3]))


def has_one_too_many(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors.update({"stranger": next(iter(tensors.values())).clone()}))


def has_a_wrong_shape(folder: Path) -> None:
    def cut(tensors: dict[str, Any]) -> None:
        name = sorted(tensors)[3]
        tensors[name] = tensors[name][:1].clone()

    change_weights(folder, cut)


def would_run_code(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(RunsCode(folder / "ran")))


def is_cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)


BAD_MODELS: dict[str, Callable[[Path], object]] = {
    "broken JSON": lambda folder: (folder / "config.json").write_text("{"),
    "JSON that is no object": lambda folder: (folder / "config.json").write_text("[1]"),
    "another kind of model": lambda folder: (folder / "config.json").write_text('{"model_type": "gpt2"}'),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "broken tokenizer": lambda folder: (folder / "tokenizer.json").write_text("{}"),
    "empty weights": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "weights cut short": is_cut_short,
    "lacks a tensor": lacks_a_tensor,
    "one tensor too many": has_one_too_many,
    "wrong shape": has_a_wrong_shape,
    "pickle that runs code": would_run_code,
}


@pytest.fixture(scope="module")
def sound_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.llava_engine.tiny import TINY, complete

    return complete(TINY, tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_bad_models(llava: Llava, tmp_path: Path, sound_model: Path, kind: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in sound_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    assert llava("ask", "Who are you?", "-m", str(folder), "--max-new-tokens", "2").code == 0
    BAD_MODELS[kind](folder)
    said = fails_cleanly(llava, "ask", "Who are you?", "-m", str(folder), home=tmp_path / "home")
    assert "model" in said
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("kind", ["missing", "empty", "a file"])
def test_no_model_there(llava: Llava, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "model"
    if kind == "empty":
        folder.mkdir()
    if kind == "a file":
        folder.write_text("not a folder")
    assert str(folder) in fails_cleanly(llava, "ask", "Who are you?", "-m", str(folder), home=tmp_path / "home")


def test_a_home_that_can_not_be_written_still_shows_the_bug(llava: Llava, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    done = llava("ask", "Why?", engine=FakeEngine([ZeroDivisionError("a bug")]))
    assert done.code == 1
    assert "ZeroDivisionError: a bug" in done.err
    assert "No report could be written" in done.err
