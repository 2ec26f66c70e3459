"""An iterator that works ahead in a thread of its own, so that reading and computing go on while a disk writes.

Knows nothing of what it hands on. What it raises is raised where it is consumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")

DEPTH = 4
"""How many items are ready beside the one in hand, unless told otherwise."""

_WAIT_SECONDS = 0.05  # how often a full queue asks whether anybody still wants what comes


@contextmanager
def ahead(items: Iterable[T], depth: int = DEPTH) -> Iterator[Iterator[T]]:
    """The items, computed up to `depth` before they are asked for; the thread has ended when the block ends."""
    queue: Queue[tuple[T] | BaseException | None] = Queue(depth)
    enough = Event()

    def put(item: tuple[T] | BaseException | None) -> None:
        waiting = True
        while waiting and not enough.is_set():
            with suppress(Full):
                queue.put(item, timeout=_WAIT_SECONDS)
                waiting = False

    def work() -> None:
        try:
            for item in items:
                put((item,))
                if enough.is_set():
                    return
        except BaseException as error:  # handed on: it is not this thread's to judge
            put(error)
        else:
            put(None)

    def take() -> Iterator[T]:
        while (item := queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    thread = Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        enough.set()
        thread.join()
