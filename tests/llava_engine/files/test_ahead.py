"""Working ahead changes nothing but when: same items, same errors, and it ends when nobody wants more."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from llava_engine.files.ahead import ahead


def test_the_items_come_in_their_order_and_all_of_them() -> None:
    with ahead(iter([3, None, 5]), depth=1) as items:
        assert list(items) == [3, None, 5]
    with ahead([]) as nothing:
        assert list(nothing) == []


def test_an_error_arrives_behind_what_came_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the disk went away")

    got = []
    with pytest.raises(OSError, match="went away"), ahead(broken()) as items:
        for item in items:
            got.append(item)
    assert got == [1]


def test_it_is_ahead_by_no_more_than_its_depth_and_stops_with_the_block() -> None:
    made = []
    second = threading.Event()

    def endless() -> Iterator[int]:
        while True:
            made.append(len(made))
            if len(made) == 2:
                second.set()
            yield made[-1]

    with ahead(endless(), depth=2) as items:
        assert second.wait(10)  # made before anybody asked
        assert next(items) == 0
        assert len(made) <= 1 + 2 + 1  # taken, waiting, in hand
    stopped = len(made)
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]
    assert len(made) == stopped
