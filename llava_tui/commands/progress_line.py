"""One line on a terminal's standard error that says why an answer has not begun yet; gone when it does.

In a pipe, or where an answer begins soon, there is none. Standard output is never touched.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from llava_engine.contract import Progress
from llava_engine.terminal_safe import SafeText, one_line
from llava_tui.commands.answer_output import is_dumb_terminal
from llava_tui.commands.say import say_over
from llava_tui.session.progress_words import QUIET_S, progress_words


class ProgressLine:
    """The line; a context manager, which takes it away in the end."""

    def __init__(self) -> None:
        self._wanted = sys.stderr.isatty() and not is_dumb_terminal()
        self._began = time.monotonic()
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def show(self, progress: Progress) -> None:
        """Say how far it is, once it takes a while."""
        if self._wanted and time.monotonic() - self._began >= QUIET_S:
            self._shown = True
            say_over(one_line(f"{progress_words(progress)} …"))

    def clear(self) -> None:
        """Take it away."""
        if self._shown:
            self._shown = False
            say_over(SafeText(""))
