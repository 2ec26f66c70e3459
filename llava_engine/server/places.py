"""Who is answered now, who waits, and who is told to come back: first come, first served, and never more than so many.

Lives on the event loop, so that it needs no lock.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from llava_engine.server.problems import Problem

_LEAST_S, _MOST_S = 1.0, 60.0


class Places:
    """Places at the engine, and a queue before them.

    Args:
        slots: how many are answered at once.
        queue: how many more may wait.

    Attributes:
        running: how many are being answered.
        closed: nobody is let in any more.
    """

    def __init__(self, slots: int, queue: int) -> None:
        self.running = 0
        self.closed = False
        self._slots = slots
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._usual_s = 1.0  # an answer takes so long, lately

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def check(self) -> None:
        """Raises `Problem` where nobody would be let in now."""
        if self.closed:
            raise closing()
        if self.running >= self._slots and len(self._waiting) >= self._queue:
            wait_s = self._usual_s * (len(self._waiting) + 1) / self._slots
            raise Problem(
                429,
                "queue_full",
                f"{self.running} are being answered and {len(self._waiting)} wait already.",
                retry_after_s=min(max(wait_s, _LEAST_S), _MOST_S),
            )

    async def enter(self) -> float:
        """Wait for a place; when it was given, for `leave`. Raises `Problem` as `check`, and when it closes."""
        self.check()
        if self.running < self._slots:
            self.running += 1
            return time.monotonic()
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on()  # it was ours for a moment
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)
        return time.monotonic()

    def leave(self, entered: float) -> None:
        """Give a place back."""
        self._usual_s += 0.2 * (time.monotonic() - entered - self._usual_s)
        self._pass_on()

    def close(self) -> None:
        """Let nobody in any more, and send those away who wait."""
        self.closed = True
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(closing())

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1


def closing() -> Problem:
    """What those are told who come while the server ends."""
    return Problem(503, "shutting_down", "This server is ending.", retry_after_s=5)
