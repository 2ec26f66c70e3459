"""The command line, run in this process."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

import llava_engine
from llava_engine.contract import EngineLike
from llava_tui import cli


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Llava(Protocol):
    def __call__(self, *arguments: str, engine: EngineLike | None = None, stdin: bytes = b"") -> Done:
        """Run `llava` with these arguments in a pipe; with `engine` in the place of every model, if given."""
        ...


@pytest.fixture
def llava(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Llava:
    monkeypatch.setenv("LLAVA_HOME", str(tmp_path / "home"))

    def run(*arguments: str, engine: EngineLike | None = None, stdin: bytes = b"") -> Done:
        if engine is not None:
            monkeypatch.setattr(llava_engine, "open_model", lambda *_, **__: engine)
        monkeypatch.setattr(sys, "argv", ["llava", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capfd.readouterr()
        return Done(int(end.value.code or 0), out, err)

    return run
