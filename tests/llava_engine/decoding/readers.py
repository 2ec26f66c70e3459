"""Readers of an engine in tests: those who ask, who are half-way, and who decode together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import llava_engine
from llava_engine import Conversation, Message, Reply, Sampling
from llava_engine.engine import Engine

WORDS = [f"Question {number} of them all" for number in range(8)]
LONG = Sampling(max_new_tokens=90, temperature=1.5, seed=4)  # drawn, so that it does not end by itself


ENDLESS = replace(LONG, max_new_tokens=None)


def load(folder: Path, slots: int) -> Engine:
    return llava_engine.load(folder, device="cpu", slots=slots)


def ask(text: str) -> Conversation:
    return Conversation((Message.user(text),))


def run(engine: Engine, conversation: Conversation, most: int = 6) -> tuple[int, ...]:
    *_, reply = engine.stream(conversation, Sampling(max_new_tokens=most))
    assert isinstance(reply, Reply)
    return reply.token_ids


def started(engine: Engine, *texts: str, sampling: Sampling = LONG) -> list[Iterator[Any]]:
    """Streams that are being answered, one after the other."""
    streams = []
    for text in texts:
        streams.append(engine.stream(ask(text), sampling))
        while not isinstance(next(streams[-1]), str):
            pass
    return streams


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it comes true; the machine may be busy."""
    until = time.monotonic() + 30
    while not true() and time.monotonic() < until:
        time.sleep(0.01)
    return true()


def idle(engine: Engine) -> bool:
    activity = engine.activity()
    return (activity.running, activity.waiting) == (0, 0) and engine._open_scheduler()._slots.free == engine.card.slots


class gathered:
    """Lets so many rows decode together: the first ones wait, before their second token, until all have come."""

    def __init__(self, engine: Engine, count: int) -> None:
        self._engine, self._count = engine, count

    def __enter__(self) -> Callable[[list[str]], list[Any]]:
        scheduler = self._engine._open_scheduler()
        decode = scheduler._decode
        came = threading.Event()

        def wait(running: Any) -> None:
            if came.is_set() or len(running) == self._count:
                came.set()
                decode(running)

        self._patch = patch.object(scheduler, "_decode", wait)
        self._patch.start()

        def texts(asked: list[str]) -> list[Any]:
            def one(text: str) -> Any:
                try:
                    return run(self._engine, ask(text))
                except Exception as error:
                    return error

            with ThreadPoolExecutor(len(asked)) as pool:
                return list(pool.map(one, asked))

        return texts

    def __exit__(self, *_: object) -> None:
        self._patch.stop()
