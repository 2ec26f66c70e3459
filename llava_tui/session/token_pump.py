"""From the engine's thread to a screen that looks every 50 ms: how far it is, text in batches, how it ended.

A stream of pieces runs on the engine's thread into a deque; `take()` empties it. Nothing is called per token, nothing
is lost at the end, and whatever the engine raises arrives here. It knows no conversation, no store and no screen.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llava_engine.contract import Progress, Reply

RATE_WINDOW_S = 2.0


@dataclass(frozen=True)
class Taken:
    """What came since the last `take()`.

    Attributes:
        text: new text; may be empty.
        done: nothing will follow.
        reply: with `done`, the engine's reply; None when it raised, or was cancelled before it began.
        error: with `done`, what the engine raised; None when it replied.
    """

    text: str
    done: bool = False
    reply: Reply | None = None
    error: BaseException | None = None


class TokenPump:
    """One answer on its way.

    Args:
        stream: called on the engine's thread with the `cancelled` to obey; yields pieces, then one Reply.
        submit: runs a function on the engine's thread.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        stream: Callable[[Callable[[], bool]], Iterator[str | Progress | Reply]],
        submit: Callable[[Callable[[], None]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._arrived: deque[tuple[float, str]] = deque()  # engine's thread appends, the taker's pops: both atomic
        self._cancelled = threading.Event()
        self._done = threading.Event()
        self._reply: Reply | None = None
        self._error: BaseException | None = None
        self._progress: Progress | None = None
        self._began = clock()
        self._first_at: float | None = None
        self._recent: deque[float] = deque()  # arrival times inside the rate window
        self._pieces = 0
        self._delivered = False
        submit(self._run)

    def take(self) -> Taken:
        """What came since the last call. After a batch with `done`, every further one is empty and done."""
        done = self._done.is_set()  # asked before the deque is emptied: nothing is appended after it is set
        texts = []
        while self._arrived:
            arrived_at, text = self._arrived.popleft()
            texts.append(text)
            self._recent.append(arrived_at)
            if self._first_at is None:
                self._first_at = arrived_at
        self._pieces += len(texts)
        if not done or self._delivered:
            return Taken("".join(texts), done)
        self._delivered = True
        return Taken("".join(texts), done, self._reply, self._error)

    def cancel(self) -> None:
        """Ask the engine to end after the token it is at. What it said until then still arrives."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to end."""
        return self._cancelled.is_set()

    @property
    def pieces(self) -> int:
        """How many pieces have been taken so far."""
        return self._pieces

    @property
    def pieces_per_second(self) -> float | None:
        """The rate of the taken pieces over the last two seconds; None until two have come."""
        if self._first_at is None:
            return None
        now = self._clock()
        while self._recent and self._recent[0] < now - RATE_WINDOW_S:
            self._recent.popleft()
        if self._pieces < 2:
            return None
        since_first = now - self._first_at
        if since_first > RATE_WINDOW_S:
            return len(self._recent) / RATE_WINDOW_S
        # The first piece is where the clock starts: n pieces are n - 1 intervals.
        return (len(self._recent) - 1) / since_first if since_first > 0 else None

    @property
    def progress(self) -> Progress | None:
        """How far it is, as the engine last told; None before it did, and once its first piece has been taken."""
        return self._progress if self._first_at is None else None

    @property
    def waited_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began

    @property
    def time_to_first_piece_s(self) -> float | None:
        """From the start to the first piece, in seconds; None until it has been taken."""
        return None if self._first_at is None else self._first_at - self._began

    def _run(self) -> None:
        try:
            if self._cancelled.is_set():
                return
            for item in self._stream(self._cancelled.is_set):
                if isinstance(item, Reply):
                    self._reply = item
                elif isinstance(item, Progress):
                    self._progress = item
                else:
                    self._arrived.append((self._clock(), item))
            if self._reply is None:
                raise RuntimeError("the engine's stream ended without a Reply")
        except BaseException as error:  # whatever it is, the taker must learn of it
            self._error = error
        finally:
            self._stream = _nothing  # which holds the engine; the next one may need its memory
            self._done.set()


def _nothing(cancelled: Callable[[], bool]) -> Iterator[str | Progress | Reply]:
    return iter(())
