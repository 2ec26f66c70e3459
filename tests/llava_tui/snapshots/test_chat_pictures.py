"""What a conversation looks like: one kept picture for each thing that a person can see."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from llava_engine.contract import LoadProgress
from llava_engine.errors import ModelError
from llava_tui import app as app_module
from llava_tui.samples import samples
from llava_tui.themes import PAPER
from tests.fakes.fake_engine import FakeEngine
from tests.llava_tui.snapshots.scene import Compare, by_size, same
from tests.llava_tui.stage import Person, Stage, drawn_file

MARKDOWN = (
    "There are **two** things in it:\n\n",
    "- a *red* circle\n- a `green` square\n\n",
    "| thing | where |\n|---|---|\n| circle | left |\n| square | right |\n\n",
    "```python\nprint('two')\n```\n",
)


@pytest.fixture(autouse=True)
def three_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The welcome shows drawings of the tests, whatever the package brings."""
    folder = tmp_path / "samples"
    folder.mkdir()
    for name, size in (("a.png", (320, 240)), ("b.png", (240, 240)), ("c.png", (320, 200))):
        drawn_file(folder, name, size)
    monkeypatch.setattr(app_module, "samples", lambda: samples(folder))


async def nothing(me: Person) -> None:
    await me.sees("ready")


async def ask_about_picture(me: Person) -> None:
    await me.until(lambda: bool(me.session.tray.ready))
    await me.says("What is in this picture?")
    await me.answered()


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (50, 20)], ids=by_size)
def test_welcome(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, Stage(tiny=True, frozen=True), nothing, size)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (50, 20)], ids=by_size)
def test_question_with_picture_and_answer(snap_compare: Compare, size: tuple[int, int], tmp_path: Path) -> None:
    stage = Stage(FakeEngine(MARKDOWN), pictures=[str(drawn_file(tmp_path))], frozen=True)

    async def act(me: Person) -> None:
        await ask_about_picture(me)
        me.screen.transcript.scroll_home(animate=False)

    assert same(snap_compare, stage, act, size)


def test_light_colours(snap_compare: Compare, tmp_path: Path) -> None:
    stage = Stage(FakeEngine(MARKDOWN), pictures=[str(drawn_file(tmp_path))], frozen=True)
    stage.app.theme = PAPER.name
    assert same(snap_compare, stage, ask_about_picture, (100, 40))


def test_no_colour(snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stage = Stage(FakeEngine(MARKDOWN), pictures=[str(drawn_file(tmp_path))], frozen=True)
    assert same(snap_compare, stage, ask_about_picture, (100, 40))


def test_sixteen_colours(snap_compare: Compare, tmp_path: Path) -> None:
    stage = Stage(FakeEngine(MARKDOWN), pictures=[str(drawn_file(tmp_path))], frozen=True)
    stage.app.theme = "ansi-dark"
    assert same(snap_compare, stage, ask_about_picture, (100, 40))


def test_pictures_waiting_in_the_prompt(snap_compare: Compare, tmp_path: Path) -> None:
    paths = [str(drawn_file(tmp_path, name)) for name in ("shapes.png", "a picture with quite a long name.png")]
    stage = Stage(pictures=paths, frozen=True)

    async def act(me: Person) -> None:
        await me.until(lambda: len(me.screen.query("Chip PictureCells")) == 2)
        await me.types("What differs")
        await me.pictures_shown()

    assert same(snap_compare, stage, act)


def test_several_pictures_in_a_question(snap_compare: Compare, tmp_path: Path) -> None:
    sizes = {"wide.png": (400, 200), "high.png": (150, 300), "square.png": (200, 200)}
    paths = [str(drawn_file(tmp_path, name, size)) for name, size in sizes.items()]
    stage = Stage(pictures=paths, frozen=True)

    async def act(me: Person) -> None:
        await me.until(lambda: len(me.session.tray.ready) == 3)
        await me.says("Compare these three.")
        await me.answered()

    assert same(snap_compare, stage, act)


def test_loading_and_a_message_that_waits(snap_compare: Compare) -> None:
    loaded = threading.Event()
    stage = Stage(held=(LoadProgress("weights", 2_600_000, 4_000_000), loaded), frozen=True)

    async def act(me: Person) -> None:
        await me.sees("2.6 MB of 4.0 MB")
        await me.says("What can you see?")
        await me.sees("waits for the model to be loaded")

    try:
        assert same(snap_compare, stage, act)
    finally:
        loaded.set()


def test_an_answer_that_is_being_written(snap_compare: Compare) -> None:
    more = threading.Event()
    stage = Stage(FakeEngine(("Here is some code:\n\n```python\ndef two():\n    return", more)), frozen=True)

    async def act(me: Person) -> None:
        await me.says("Show me")
        await me.sees("return")

    try:
        assert same(snap_compare, stage, act)
    finally:
        more.set()


def test_a_stopped_answer(snap_compare: Compare) -> None:
    stage = Stage(FakeEngine(("It is a red", threading.Event())), frozen=True)

    async def act(me: Person) -> None:
        await me.says("What is it?")
        await me.sees("It is a red")
        await me.press("escape")
        await me.sees("stopped")
        await me.answered()

    assert same(snap_compare, stage, act)


def test_versions_of_an_answer_in_hand(snap_compare: Compare) -> None:
    stage = Stage(FakeEngine(("One way to say it.",), ("Another way to say it.",)), frozen=True)

    async def act(me: Person) -> None:
        await me.says("Say it")
        await me.answered()
        await me.press("shift+tab", "r")
        await me.sees("Another way")
        await me.answered()
        await me.press("shift+tab")
        await me.until(lambda: "y copy" in me.hint)

    assert same(snap_compare, stage, act)


def test_a_question_that_is_being_changed(snap_compare: Compare) -> None:
    async def act(me: Person) -> None:
        await me.says("What colour is it?")
        await me.answered()
        await me.press("shift+tab", "e")
        await me.sees("What colour is it?")
        await me.until(lambda: "changed message" in me.hint)

    assert same(snap_compare, Stage(frozen=True), act)


def test_new_text_below(snap_compare: Compare) -> None:
    lines = "".join(f"Line {number} of a long answer.\n\n" for number in range(30))
    stage = Stage(FakeEngine((lines,), ("Something new.",)), frozen=True)

    async def act(me: Person) -> None:
        await me.says("First")
        await me.answered()
        me.screen.transcript.scroll_to(y=4, animate=False, immediate=True)
        await me.pilot.pause()
        me.session.send("Second")
        await me.answered(2)
        await me.sees("↓ new")

    assert same(snap_compare, stage, act)


def test_an_error_is_a_notice_and_stands_at_the_answer(snap_compare: Compare) -> None:
    stage = Stage(FakeEngine(("It is", ModelError("The model ran out of memory.", "Use fewer pictures."))), frozen=True)

    async def act(me: Person) -> None:
        await me.says("What is it?")
        await me.answered()
        await me.sees("Use fewer pictures.")

    assert same(snap_compare, stage, act)


def test_slash_commands(snap_compare: Compare) -> None:
    async def act(me: Person) -> None:
        await me.sees("ready")
        await me.types("/")
        await me.sees("/regenerate")

    assert same(snap_compare, Stage(frozen=True), act, (80, 24))
