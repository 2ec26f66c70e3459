"""Places at the engine: counted right, whatever comes between."""

from __future__ import annotations

import asyncio

import pytest

from llava_engine.server.places import Places
from llava_engine.server.problems import Problem


async def test_a_place_that_is_given_to_one_who_leaves_at_that_moment_goes_on() -> None:
    places = Places(1, 2)
    first = await places.enter()
    second = asyncio.ensure_future(places.enter())
    third = asyncio.ensure_future(places.enter())
    await asyncio.sleep(0)
    places.leave(first)  # the place is the second's, who has not run since
    second.cancel()
    entered = await asyncio.wait_for(third, 5)
    assert second.cancelled()
    assert (places.running, places.waiting) == (1, 0)
    places.leave(entered)
    assert places.running == 0


async def test_a_queue_of_nobody() -> None:
    places = Places(1, 0)
    entered = await places.enter()
    with pytest.raises(Problem):
        await places.enter()
    places.leave(entered)
    places.leave(await places.enter())
    assert (places.running, places.waiting) == (0, 0)


async def test_those_who_wait_are_sent_away_when_it_closes() -> None:
    places = Places(1, 5)
    entered = await places.enter()
    waiting = [asyncio.ensure_future(places.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    places.close()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [Problem, asyncio.CancelledError, Problem]
    places.leave(entered)
    assert (places.running, places.waiting) == (0, 0)
