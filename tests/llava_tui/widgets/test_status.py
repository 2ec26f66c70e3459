"""The status line: true words, and never more than fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llava_engine.contract import LoadProgress, Progress
from llava_tui.session.events import Facts
from llava_tui.widgets.status import Status, human_seconds
from tests.fakes.fake_engine import FAKE_CARD
from tests.llava_tui.widgets.bench import Bench

READY = Facts("idle", FAKE_CARD, None, 41.6, 0.314, 312, 2048, 64)
LOOKING = replace(READY, phase="answering", tokens_per_second=None, time_to_first_token_s=None)
FAR = replace(FAKE_CARD, folder=None, where="far:8000", cannot=frozenset({"count"}))


async def line(facts: Facts, width: int = 120) -> str:
    status = Status()
    app = Bench(status)
    async with app.run_test(size=(width, 3)) as pilot:
        status.facts = facts
        await pilot.pause()
        return app.seen()[0].strip()


async def test_an_answer_has_left_its_figures() -> None:
    said = await line(READY)
    for part in ("fake", "42 tokens/s", "cpu float32", "312 of 2,048 tokens", "first after 314 ms", "64 for pictures"):
        assert part in said


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts("no_model"), "no model"),
        (Facts("loading"), "starting …"),
        (Facts("loading", progress=LoadProgress("importing torch", 0, 0)), "importing torch …"),
        (Facts("loading", progress=LoadProgress("weights", 2_100_000, 4_200_000)), "━ 2.1 MB of 4.2 MB"),
        (Facts("idle", FAKE_CARD), "ready"),
        (LOOKING, "looking …"),
        (replace(READY, phase="answering", tokens_per_second=None), "writing …"),
        (replace(READY, phase="answering"), "42 tokens/s"),
        (replace(READY, phase="stopping"), "stopping …"),
        (replace(READY, waiting=True), "a message waits"),
        (replace(LOOKING, answer_progress=Progress("waiting", 2, 3)), "waiting …"),
        (replace(LOOKING, answer_progress=Progress("reading", 512, 2300)), "reading …"),
        (replace(READY, card=FAR, context_total=None), "312 tokens"),
        (replace(READY, card=FAR, context_used=None), "— of 2,048 tokens"),
        (replace(READY, card=FAR, context_used=None, context_total=None), "— tokens"),
        (replace(READY, saved=False), "not saved"),
    ],
)
async def test_it_says_what_goes_on(facts: Facts, words: str) -> None:
    assert words in await line(facts)


@pytest.mark.parametrize("width", [10, 30, 50, 80])
async def test_in_a_narrow_terminal_whole_parts_are_left_out(width: int) -> None:
    said = await line(READY, width)
    assert said.startswith("fake")
    parts = {part for half in said.split("   ") for part in half.strip().split("  ·  ")}
    full = {part for half in (await line(READY)).split("   ") for part in half.strip().split("  ·  ")}
    assert parts <= full | {""}


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.004, "4 ms"), (0.31, "310 ms"), (0.9999, "1.0 s"), (12.34, "12.3 s")]
)
def test_seconds_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert human_seconds(seconds) == words
