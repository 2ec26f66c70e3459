"""What a person sees while an engine lets them wait, and when it is busy, away, or can not say what it costs."""

from __future__ import annotations

import threading
from dataclasses import replace

from llava_engine.contract import Progress
from llava_engine.errors import BusyError, EngineAwayError
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine
from tests.llava_tui.stage import Stage

FAR = replace(
    FAKE_CARD,
    name="llava",
    folder=None,
    where="far:8000",
    context_length=None,
    picture_tokens=None,
    parameters=None,
    memory_bytes=None,
    cannot=frozenset({"count", "ids"}),
)


async def test_one_who_waits_sees_for_what() -> None:
    steps = [
        (Progress("waiting", 2, 3), "2 before you", "waiting …"),
        (Progress("seeing", 0, 1), "looking at the picture", "looking …"),
        (Progress("seeing", 1, 3), "looking at picture 2 of 3", "looking …"),
        (Progress("reading", 512, 2300), "reading 512 of 2,300", "reading …"),
    ]
    gates = [threading.Event() for _ in steps]
    script = [part for (progress, *_), gate in zip(steps, gates, strict=True) for part in (progress, gate)]
    stage = Stage(FakeEngine([*script, "It is red."]))
    async with stage.open() as me:
        await me.says("What is it?")
        for (_, words, word), gate in zip(steps, gates, strict=True):
            await me.sees(words)
            await me.sees(word)
            gate.set()
        await me.answered()
        await me.sees("It is red.")
        assert "reading" not in me.seen()


async def test_an_engine_that_is_away_or_busy_is_told_in_a_line_and_asked_again() -> None:
    away = EngineAwayError("far:8000 can not be reached.", "Is it running?")
    stage = Stage(FakeEngine([away], [BusyError("far:8000 is busy.", 5)], ["It is red."], card=FAR))
    async with stage.open() as me:
        await me.says("What is it?")
        await me.answered()
        assert any("far:8000 can not be reached.\nIs it running?" in notice for notice in me.notices)
        assert me.seen().count("far:8000 can not be reached.") >= 1
        await me.press("ctrl+r")
        await me.answered()
        assert any("far:8000 is busy.\nAsk again in 5 s." in notice for notice in me.notices)
        await me.press("ctrl+r")
        await me.answered()
        await me.sees("It is red.")
        await me.sees("‹ 3 of 3 ›")


async def test_what_nobody_can_count_is_not_shown_as_a_number() -> None:
    stage = Stage(FakeEngine(["It is red."], card=replace(FAR, context_length=4096), usage=77))
    async with stage.open() as me:
        await me.sees("0 of 4,096 tokens")
        await me.says("What is it?")
        await me.answered()
        await me.sees("78 of 4,096 tokens")
