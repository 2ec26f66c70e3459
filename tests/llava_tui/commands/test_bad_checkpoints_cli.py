"""Bad checkpoints at the command line: exit 1, one to three lines, nothing written, nothing run, in every command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.llava_engine.checkpoints import rooms
from tests.llava_engine.checkpoints.rooms import replace
from tests.llava_engine.checkpoints.test_bad_checkpoints import Bomb
from tests.llava_tui.conftest import Llava

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 12345\n"


@pytest.fixture(scope="module")
def whole_room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("whole")
    rooms.write_all(room)
    return room


@pytest.fixture
def room(whole_room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    return rooms.copy(whole_room, tmp_path / "room")


def would_run_code(folder: Path) -> None:
    weights = folder / "model.safetensors"
    torch.save({**load_file(weights), "x": Bomb(folder / "ran")}, folder / "pytorch_model.bin")
    weights.unlink()


def edited(folder: Path, **values: object) -> None:
    raw = json.loads((folder / "config.json").read_bytes())
    replace(folder / "config.json", json.dumps(raw | values).encode())


BAD: dict[str, Callable[[Path], object]] = {
    "code": would_run_code,
    "pointers": lambda folder: replace(folder / "model.safetensors", POINTER),
    "cut": lambda folder: replace(folder / "model.safetensors", (folder / "model.safetensors").read_bytes()[:-9]),
    "absurd": lambda folder: edited(folder, num_hidden_layers=10**9),
    "terminal": lambda folder: edited(folder, mm_projector_type="\x1b]0;owned\x07\x1b[2J\u202e"),
    "lines": lambda folder: edited(folder, mm_projector_type="a\nb\r\nc\u2028d" * 500),
    "list": lambda folder: replace(folder / "config.json", b"[1]"),
    "nested": lambda folder: replace(folder / "config.json", b"[" * 100_000),
    "no tower": lambda folder: edited(folder, mm_vision_tower="nobody/\x1b[2Jeyes"),
}

COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "ask": lambda room: ["ask", "Who are you?", "--model", str(room / "newest")],
    "show": lambda room: ["models", "show", str(room / "newest")],
    "convert": lambda room: ["convert", str(room / "newest"), "--to", "hf", "--out", str(room / "out")],
    "delta": lambda room: [
        "delta", "make", "--base", str(room / "base"), "--target", str(room / "newest"), "--delta", str(room / "out"),
    ],
}  # fmt: skip


def files(room: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in room.rglob("*") if path.is_file())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_checkpoint(llava: Llava, room: Path, command: str, kind: str) -> None:
    BAD[kind](room / "newest")
    before = files(room)
    done = llava(*COMMANDS[command](room))
    if command == "delta" and kind in ("absurd", "terminal", "lines", "no tower"):
        assert done.code == 0  # its numbers are what they are; the config is only copied
        return
    assert done.code == 1
    assert 1 <= len(done.err.splitlines()) <= 3 and len(done.err) < 1500
    assert all(line.isprintable() for line in (done.out + done.err).splitlines())
    assert "Traceback" not in done.err
    assert not done.out or command == "show"
    assert files(room) == before


def test_a_delta_applied_twice(llava: Llava, room: Path) -> None:
    made = llava("delta", "make", *options(room, base="base", target="newest", delta="delta"))
    assert made.code == 0, made
    assert llava("delta", "apply", *options(room, base="base", delta="delta", target="sum")).code == 0
    before = files(room)
    done = llava("delta", "apply", *options(room, base="sum", delta="delta", target="twice"))
    assert done.code == 1 and "already" in done.err and files(room) == before


def test_a_delta_with_code_in_it(llava: Llava, room: Path) -> None:
    would_run_code(room / "newest")
    before = files(room)
    done = llava("delta", "apply", *options(room, base="base", delta="newest", target="out"))
    assert done.code == 1 and "could run code" in done.err and files(room) == before


def test_an_old_pickle_says_no_more_than_its_error(room: Path) -> None:
    """In a process of its own, where torch's warnings would be seen."""
    import pickle

    (room / "newest" / "model.safetensors").unlink()
    (room / "newest" / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Bomb(room / "ran")}, protocol=4))
    code = f"import sys; sys.argv = {['llava', *COMMANDS['show'](room)]!r}\nfrom llava_tui.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 2 and "could run code" in done.stderr
    assert not (room / "ran").exists()


def options(room: Path, **folders: str) -> list[str]:
    return [word for name, folder in folders.items() for word in (f"--{name}", str(room / folder))]


def test_names_that_command_a_terminal_are_shown_without(llava: Llava, room: Path) -> None:
    evil = (room / "hf").rename(room / "\x1b]0;owned\x07\x1b[2Jevil\u202e")
    target = room / "\x1b[31mtarget"
    for words in (
        ["ask", "Who are you?", "--model", str(evil), "--max-new-tokens", "2", "--stats"],
        ["ask", "Who are you?", "--model", str(evil), "--max-new-tokens", "2", "--json"],
        ["models", "list"],
        ["models", "show", str(evil)],
        ["convert", str(evil), "--to", "original", "--out", str(target)],
        ["convert", str(evil), "--to", "original", "--out", str(target)],  # it is there now
        ["delta", "make", *options(room, base="base", target="newest", delta="\x1b[31mdelta")],
        ["models", "show", str(evil / "config.json")],
        ["models", "show", str(evil) + "nowhere"],
    ):
        done = llava(*words)
        assert done.code in (0, 1)
        assert all(line.isprintable() for line in (done.out + done.err).replace("\t", " ").splitlines()), words
