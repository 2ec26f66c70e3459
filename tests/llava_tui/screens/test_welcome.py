"""The first thing a stranger sees: samples that are one press away, and what the model is good for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llava_tui import app as app_module
from llava_tui.samples import samples
from llava_tui.widgets.welcome import SampleCard
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine
from tests.llava_tui.stage import Stage, drawn_file


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three samples."""
    for name in ("a.png", "b.png", "c.png"):
        drawn_file(tmp_path, name)
    monkeypatch.setattr(app_module, "samples", lambda: samples(tmp_path))


@pytest.mark.usefixtures("three")
async def test_it_says_what_the_tiny_model_knows_and_how_to_load_a_real_one() -> None:
    stage = Stage(tiny=True)
    async with stage.open(size=(80, 24)) as me:
        await me.sees("It knows drawn shapes")
        await me.sees("llava chat --model FOLDER")
        await me.sees("What is in this")


async def test_with_another_model_it_does_not() -> None:
    stage = Stage(tiny=False)
    async with stage.open() as me:
        await me.pilot.pause()
        assert "tiny" not in me.seen()


async def test_a_model_of_ones_own_is_introduced() -> None:
    card = replace(FAKE_CARD, about=("LLaVA 1.5 in the original's layout.", "Its config \x1b[2Jlies."))
    stage = Stage(FakeEngine(card=card))
    async with stage.open() as me:
        await me.sees("LLaVA 1.5 in the original's layout.")
        await me.sees("Its config lies.")


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("how", ["key", "click"])
async def test_one_press_asks_about_the_sample(how: str) -> None:
    engine = FakeEngine(("Shapes.",))
    stage = Stage(engine, tiny=True)
    async with stage.open() as me:
        if how == "key":
            me.screen.query(SampleCard).first().focus()
            await me.press("right", "enter")
        else:
            await me.pilot.click(me.screen.query(SampleCard)[1])
        await me.answered()
        await me.sees("Shapes.")
        (conversation,) = engine.conversations
        assert [picture.name for picture in conversation.pictures] == ["b.png"]
        assert conversation.messages[0].text == "How many things are there?"
        assert me.writes()


async def test_without_samples_it_still_says_how_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "samples", lambda: samples(tmp_path))
    stage = Stage(tiny=True)
    async with stage.open() as me:
        await me.sees("Paste the path of a picture")
