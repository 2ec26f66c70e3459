"""`llava ask` of engines that let one wait, that lack something, or that are away."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from llava_engine.contract import Progress
from llava_engine.errors import BusyError, EngineAwayError
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine
from tests.llava_tui.conftest import Done, Llava

WAITING = (Progress("waiting", 2, 3), 0.4, Progress("reading", 512, 2300), "So", ".")


class Terminal(io.StringIO):
    """Standard error that is one."""

    def isatty(self) -> bool:
        return True


def test_in_a_pipe_nothing_tells_how_far_it_is(llava: Llava) -> None:
    engine = FakeEngine(WAITING)
    assert llava("ask", "What?", engine=engine) == Done(0, "So.\n", "")
    assert engine.closed


def test_on_a_terminal_a_line_says_it_until_the_answer_begins(llava: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    done = llava("ask", "What?", engine=FakeEngine(WAITING))
    assert (done.code, done.out) == (0, "So.\n")
    told = terminal.getvalue()
    assert "reading 512 of 2,300 …" in told and "before you" not in told  # what is over soon is not told
    assert told.endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            EngineAwayError("far:8000 can not be reached.", "Is it running?"),
            "far:8000 can not be reached.\nIs it running?",
        ),
        (BusyError("far:8000 is busy.", 7), "far:8000 is busy.\nAsk again in 7 s."),
    ],
)
def test_an_engine_that_is_away_or_busy_is_said_in_a_line(llava: Llava, error: Exception, said: str) -> None:
    engine = FakeEngine([error])
    done = llava("ask", "What?", engine=engine)
    assert (done.code, done.out) == (1, "")
    assert said in done.err and "Traceback" not in done.err
    assert engine.closed


def test_a_model_that_sees_nothing_is_shown_nothing(llava: Llava, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "red.png")
    engine = FakeEngine(["So."], card=replace(FAKE_CARD, name="words", cannot=frozenset({"pictures"})))
    done = llava("ask", "-i", str(tmp_path / "red.png"), "What?", engine=engine)
    assert (done.code, done.out) == (1, "")
    assert "words can not see pictures." in done.err
    assert not engine.conversations and engine.closed
    assert llava("ask", "What?", engine=engine) == Done(0, "So.\n", "")
