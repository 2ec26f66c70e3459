"""`llava serve`: what it is told, what it refuses to be told, and a server that answers until a signal."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llava_engine.errors import LlavaError
from llava_engine.opening import Placement
from llava_engine.server import serving
from llava_engine.server.settings import Settings
from llava_tui.commands.serve import app
from tests.llava_engine.server.live import PATIENCE_S, Live

RUN = "from llava_tui.cli import main; main()"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the server is given, in place of serving."""
    given: dict[str, object] = {}

    async def serve(open_engine: object, settings: Settings, listening: object, **more: object) -> None:
        listening.close()  # type: ignore[attr-defined]
        given.update(settings=settings, open_engine=open_engine, **more)

    monkeypatch.setattr(serving, "serve", serve)
    monkeypatch.delenv("LLAVA_SERVE_KEY", raising=False)
    return given


def run(*words: str, env: dict[str, str] | None = None) -> object:
    result = CliRunner(env=env).invoke(app, ["--port", "0", *words])
    if result.exit_code:
        assert result.exception is not None
        if not isinstance(result.exception, SystemExit):
            raise result.exception
    return result


def test_every_option_reaches_the_server(told: dict[str, object], tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(" secret\n")
    run(
        "--name", "eyes", "--temperature", "0.5", "--queue", "3", "--api-key-file", str(key), "--max-body", "1MB",
        "--max-pictures", "2", "--max-pixels", "4M", "--fetch-from", "A.example,b.example", "--fetch-from", "c.example",
        "--cors", "https://friend.example", "--allow-host", "Eyes.example", "--log", "json",
        "--votes", str(tmp_path / "v"),
    )  # fmt: skip
    assert told["settings"] == Settings(
        key="secret", name="eyes", temperature=0.5, queue=3, max_body=1_000_000, max_pictures=2, max_pixels=4_000_000,
        fetch_from=frozenset({"a.example", "b.example", "c.example"}), cors=("https://friend.example",),
        hosts=frozenset({"eyes.example", "127.0.0.1"}), votes=tmp_path / "v",
    )  # fmt: skip
    assert told["form"] == "json"


def test_without_options_it_is_as_the_help_says(told: dict[str, object]) -> None:
    run()
    assert told["settings"] == Settings(hosts=frozenset({"127.0.0.1"}))
    assert told["form"] == "text"


@pytest.mark.parametrize(("said", "slots"), [((), None), (("--slots", "auto"), None), (("--slots", "4"), 4)])
def test_slots(
    told: dict[str, object], monkeypatch: pytest.MonkeyPatch, said: tuple[str, ...], slots: int | None
) -> None:
    opened: list[Placement] = []
    monkeypatch.setattr(
        "llava_engine.backends.opening.open_engine", lambda source, placement, **more: opened.append(placement)
    )
    run(*said, "--quantize", "int8", "--devices", "0,1")
    told["open_engine"](lambda: False)  # type: ignore[operator]
    assert opened == [Placement(slots=slots, quantize="int8", devices="0,1")]


SIZES = {"20": 20, "20B": 20, "20MB": 2 * 10**7, "8MiB": 2**23, "1.5GB": 15 * 10**8, "40M": 4 * 10**7, "2k": 2000}


@pytest.mark.parametrize("size", SIZES)
def test_sizes(told: dict[str, object], size: str) -> None:
    run("--max-body", size)
    expected = {
        "20": 20,
        "20B": 20,
        "20MB": 20_000_000,
        "8MiB": 8 * 2**20,
        "1.5GB": 15 * 10**8,
        "40M": 4 * 10**7,
        "2k": 2000,
    }
    assert told["settings"].max_body == expected[size]  # type: ignore[attr-defined]


def test_the_key_may_come_from_the_environment(told: dict[str, object]) -> None:
    run("--host", "127.0.0.1", env={"LLAVA_SERVE_KEY": "secret"})
    assert told["settings"].key == "secret"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "env", "said"),
    [
        (("--host", "0.0.0.0"), {}, "there is no key"),
        (("--host", "0.0.0.0"), {"LLAVA_SERVE_KEY": " "}, "is empty"),
        (("--no-key",), {"LLAVA_SERVE_KEY": "secret"}, "both given"),
        (("--api-key-file", "nowhere"), {}, "No such file"),
        (("--cors", "*"), {}, "--cors can not be '*'"),
        (("--cors", "https://a.example/path"), {}, "--cors can not be"),
        (("--max-body", "much"), {}, "must be a number, as 20MB"),
        (("--slots", "many"), {}, "must be auto or a number"),
        (("--slots", "0"), {}, "--slots can not be 0"),
        (("--host", "not a host", "--no-key"), {}, "leads nowhere"),
        (("--model", "nowhere-at-all"), {}, "nowhere-at-all"),
        (("--log", "yaml"), {}, "--log"),
    ],
)
def test_what_can_not_be_is_said(
    told: dict[str, object], words: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    result = CliRunner(env=env).invoke(app, ["--port", "0", *words])
    assert result.exit_code
    assert said in (str(result.exception) if isinstance(result.exception, LlavaError) else result.output)
    assert not told


@contextmanager
def process(*words: str) -> Iterator[tuple[subprocess.Popen[str], Live]]:
    command = [sys.executable, "-c", RUN, "serve", "--port", "0", *words]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stdout
    try:
        said = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/v1 · .* · \d+ at once\n", started.stdout.readline())
        assert said
        yield started, Live(int(said[1]))
    finally:
        started.kill()
        started.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_it_answers_until_a_signal_comes() -> None:
    with process("--name", "eyes", "--log", "json") as (started, server):
        answer = server.chat(model="eyes").json()
        assert answer["choices"][0]["message"]["content"]
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=PATIENCE_S)
        assert started.returncode == 130
        assert '"status": 200' in err
        assert "Traceback" not in err
