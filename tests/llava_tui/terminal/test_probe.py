"""A terminal is asked through a real pseudo-terminal: what it answers is understood, its mode is as before."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from llava_tui.terminal.detect import ProbeAnswer

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals of this kind on Windows", allow_module_level=True)

import termios

from llava_tui.terminal.probe import ask

TGP_OK = b"\x1b_Gi=31;OK\x1b\\"
TGP_NO = b"\x1b_Gi=31;ENOTSUPPORTED\x1b\\"
KITTY = b"\x1bP>|kitty(0.40.1)\x1b\\"
VT220 = b"\x1b[?62;22c"
VT220_SIXEL = b"\x1b[?62;4;22c"
VT100_PRINTER = b"\x1b[?4c"  # the first number is the model, not a capability


@dataclass
class Terminal:
    """Both ends of a pseudo-terminal."""

    screen: int
    program: int


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    screen, program = os.openpty()
    yield Terminal(screen, program)
    os.close(screen)
    os.close(program)


def answering(terminal: Terminal, *pieces: bytes) -> threading.Thread:
    """Answer with these pieces once the last question has come."""

    def run() -> None:
        heard = b""
        while b"\x1b[c" not in heard and select.select([terminal.screen], [], [], 5)[0]:
            heard += os.read(terminal.screen, 4096)
        for piece in pieces:
            os.write(terminal.screen, piece)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([TGP_OK, KITTY, VT220], ProbeAnswer(sixel=False, tgp=True, name="kitty(0.40.1)")),
        ([TGP_NO, VT220], ProbeAnswer(sixel=False, tgp=False)),
        ([VT220_SIXEL], ProbeAnswer(sixel=True, tgp=False)),
        ([VT100_PRINTER], ProbeAnswer(sixel=False, tgp=False)),
        ([b"ls -l", TGP_OK[:5], TGP_OK[5:], b"q", VT220[:3], VT220[3:]], ProbeAnswer(sixel=False, tgp=True)),
    ],
)
def test_answers_are_understood_and_the_mode_is_as_before(
    terminal: Terminal, pieces: list[bytes], expected: ProbeAnswer
) -> None:
    before = termios.tcgetattr(terminal.program)
    answers = answering(terminal, *pieces)
    assert ask(terminal.program, 5.0) == expected
    answers.join()
    assert termios.tcgetattr(terminal.program) == before
    assert select.select([terminal.program], [], [], 0)[0] == []  # nothing is left that would be read as keys


def test_a_silent_terminal_is_no_answer_and_the_mode_is_as_before(terminal: Terminal) -> None:
    before = termios.tcgetattr(terminal.program)
    assert ask(terminal.program, 0.01) is None
    assert termios.tcgetattr(terminal.program) == before


def test_answers_are_not_echoed_onto_the_screen(terminal: Terminal) -> None:
    answers = answering(terminal, VT220)
    ask(terminal.program, 5.0)
    answers.join()
    shown = os.read(terminal.screen, 4096) if select.select([terminal.screen], [], [], 0)[0] else b""
    assert b"62;22c" not in shown


def test_what_is_no_terminal_can_not_be_asked(terminal: Terminal) -> None:
    reading, writing = os.pipe()
    with pytest.raises(OSError):
        ask(reading, 0.01)
    os.close(reading)
    os.close(writing)
