"""Keys, from the bytes of a terminal to what Textual makes of them; a lone Esc needs no further byte to be known."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import AsyncIterator
from queue import Queue

import pytest
from textual.app import App
from textual.events import Key
from textual.message import Message

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has another driver")


class Keyboard:
    """A driver that reads a pseudo-terminal, and the keys that came out of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pty
        import tty

        from llava_tui.terminal.driver import QuickEscDriver

        self.ours, theirs = pty.openpty()
        tty.setraw(theirs)
        keys = self.keys = Queue[str]()

        class Driver(QuickEscDriver):
            def process_message(self, message: Message) -> None:
                if isinstance(message, Key):
                    keys.put(message.key)

        with open(theirs, closefd=False) as terminal, monkeypatch.context() as patch:
            patch.setattr(sys, "__stdin__", terminal)
            self.driver = Driver(App())
        self._thread = threading.Thread(target=self.driver.run_input_thread, daemon=True)
        self._thread.start()

    def types(self, data: bytes) -> None:
        os.write(self.ours, data)

    def gives(self, count: int) -> list[str]:
        return [self.keys.get(timeout=30) for _ in range(count)]

    def close(self) -> None:
        self.driver.exit_event.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
async def keyboard(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Keyboard]:
    keyboard = Keyboard(monkeypatch)
    yield keyboard
    keyboard.close()


async def test_letters_in_pieces_of_their_bytes(keyboard: Keyboard) -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]
    keyboard.types(b"a" + first)
    keyboard.types(second + b"b")
    assert keyboard.gives(3) == ["a", "é", "b"]


async def test_a_lone_escape(keyboard: Keyboard) -> None:
    keyboard.types(b"\x1b")
    assert keyboard.gives(1) == ["escape"]
    keyboard.types(b"x")
    assert keyboard.gives(1) == ["x"]


async def test_sequences_are_the_keys_that_they_stand_for(keyboard: Keyboard) -> None:
    keyboard.types(b"\x1b[A\x1b[5~\x1b[1;5H")
    assert keyboard.gives(3) == ["up", "pageup", "ctrl+home"]


async def test_bytes_that_are_no_text_do_no_harm(keyboard: Keyboard) -> None:
    keyboard.types(b"\xff")
    keyboard.types(b"y")
    assert keyboard.gives(2)[-1] == "y"
