"""What a session has to tell: events in order, and errors as notices.

Also the way home for what happens on other threads: `later` puts an act off until the session's own thread polls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

from llava_engine.errors import LlavaError, OutOfMemoryError
from llava_engine.terminal_safe import SafeText, one_line, strip_control
from llava_tui.commands.plan_lines import plan_lines
from llava_tui.session.events import Event, Loading, Notice


class Outbox:
    """Collects events. All but `later` is for the session's own thread.

    Args:
        report_bug: writes a crash file for what is not a user's error, and says where it is; None where it could not.
    """

    def __init__(self, report_bug: Callable[[BaseException], Path | None] | None) -> None:
        self._report_bug = report_bug
        self._events: list[Event] = []
        self._acts: deque[Callable[[], None]] = deque()

    def later(self, act: Callable[[], None]) -> None:
        """Do `act` on the session's thread, at its next poll. Safe in any thread."""
        self._acts.append(act)

    def settle(self) -> None:
        """Do what was put off."""
        while self._acts:
            self._acts.popleft()()

    def add(self, event: Event) -> None:
        """Tell this next. Of several reports of progress in a row, only the latest is told."""
        if isinstance(event, Loading) and self._events and isinstance(self._events[-1], Loading):
            self._events.pop()
        self._events.append(event)

    def tell(self, error: BaseException) -> None:
        """A user's error is told as it is; a bug leaves a crash file, and the conversation goes on."""
        if isinstance(error, LlavaError):
            lines = plan_lines(error.plan) if isinstance(error, OutOfMemoryError) else ()
            self.add(Notice(error.cause, strip_control("\n".join((error.remedy, *lines)))))
            return
        path = self._report_bug(error) if self._report_bug is not None else None
        remedy = f"A report for us is in {path}." if path is not None else ""
        self.add(Notice(strip_control(f"Something broke: {reason(error)}"), strip_control(remedy)))

    def take(self) -> list[Event]:
        """All events, oldest first."""
        events, self._events = self._events, []
        return events


def reason(error: BaseException | None) -> SafeText:
    """What is wrong, for a line on the screen."""
    if error is None:
        return SafeText("")
    text = error.cause if isinstance(error, LlavaError) else f"{type(error).__name__}: {error}"
    return one_line(one_line(text)[:200])  # a line's end of a notice; the crash file has the whole
