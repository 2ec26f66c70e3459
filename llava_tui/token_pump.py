"""From the engine's thread to a screen that looks every 50 ms: text in batches, then how it ended.

A stream of pieces runs on the engine's thread into a deque; `take()` empties it. Nothing is called per token, nothing
is lost at the end, and whatever the engine raises arrives here. It knows no conversation, no store and no screen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llava_engine.contract import Reply


@dataclass(frozen=True)
class Batch:
    """What came since the last `take()`.

    Attributes:
        text: new text; may be empty.
        done: nothing will follow.
        reply: with `done`, the engine's reply; None when it raised.
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
        stream: Callable[[Callable[[], bool]], Iterator[str | Reply]],
        submit: Callable[[Callable[[], None]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        raise NotImplementedError

    def take(self) -> Batch:
        """What came since the last call. After a batch with `done`, every further one is empty and done."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Ask the engine to end after the token it is at. What it said until then still arrives."""
        raise NotImplementedError

    @property
    def pieces(self) -> int:
        """How many pieces have come so far."""
        raise NotImplementedError

    @property
    def pieces_per_second(self) -> float | None:
        """The rate over the last two seconds; None until two pieces have come."""
        raise NotImplementedError

    @property
    def time_to_first_piece_s(self) -> float | None:
        """From the start to the first piece; None until it has come."""
        raise NotImplementedError
