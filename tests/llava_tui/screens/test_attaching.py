"""Pictures in: pasted, typed, picked, from the clipboard; seen as chips, taken out, sent with the question."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual import events

from llava_engine.errors import PictureError
from llava_tui.screens import chat_screen
from llava_tui.screens.picture_viewer import PictureViewer
from llava_tui.widgets.chips import Chip, Remove
from llava_tui.widgets.preview import PictureCells
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine
from tests.llava_tui.stage import Person, Stage, drawn_file


async def paste(me: Person, text: str) -> None:
    me.prompt.post_message(events.Paste(text))
    await me.pilot.pause()


async def chips(me: Person, count: int) -> list[Chip]:
    """Wait until there are so many open pictures."""
    await me.until(lambda: len(me.session.tray.ready) == len(me.screen.query(Chip)) == count)
    await me.pictures_shown()
    return list(me.screen.query(Chip))


async def test_pictures_of_the_command_line_are_attached(tmp_path: Path) -> None:
    paths = [str(drawn_file(tmp_path, name)) for name in ("a.png", "b.png")]
    stage = Stage(pictures=paths)
    async with stage.open() as me:
        await chips(me, 2)
        await me.sees("a.png")
        await me.sees("b.png")
        await me.until(lambda: "320×240 · 64 tokens" in me.seen())


async def test_a_picture_whose_cost_is_not_known_yet_claims_none(tmp_path: Path) -> None:
    engine = FakeEngine(card=replace(FAKE_CARD, tiles=True))
    stage = Stage(engine, pictures=[str(drawn_file(tmp_path, "a.png"))])
    async with stage.open() as me:
        await chips(me, 1)
        await me.until(lambda: me.session.facts.card is not None and "320×240" in me.seen())
        await me.pictures_shown()
        assert "320×240 · " not in me.seen()


@pytest.mark.parametrize("form", ["{}", "'{}'", '"{}"', "file://{}", " {}\n"])
async def test_a_pasted_path_becomes_a_chip(tmp_path: Path, form: str) -> None:
    path = drawn_file(tmp_path)
    stage = Stage()
    async with stage.open() as me:
        await paste(me, form.format(path))
        await chips(me, 1)
        assert me.prompt.text == ""


async def test_words_around_a_pasted_path_stay(tmp_path: Path) -> None:
    path = drawn_file(tmp_path)
    stage = Stage()
    async with stage.open() as me:
        await paste(me, f"What is in {path} here?")
        await chips(me, 1)
        assert "What is in" in me.prompt.text
        assert str(path) not in me.prompt.text


async def test_pasted_words_are_words() -> None:
    stage = Stage()
    async with stage.open() as me:
        await paste(me, "just [some] words")
        await me.until(lambda: me.prompt.text == "just [some] words")


async def test_a_path_that_was_typed_instead_of_pasted_is_a_picture(tmp_path: Path) -> None:
    engine = FakeEngine()
    stage = Stage(engine)
    async with stage.open() as me:
        me.prompt.write(str(drawn_file(tmp_path)))
        await me.press("enter")
        await chips(me, 1)
        assert engine.conversations == []


async def test_the_slash_command_attaches(tmp_path: Path) -> None:
    path = drawn_file(tmp_path, "two words.png")
    stage = Stage()
    async with stage.open() as me:
        me.prompt.write(f"/image {path}")
        await me.press("enter")
        await chips(me, 1)
        await me.sees("two words.png")


async def test_what_is_no_picture_is_told_and_nothing_else_happens(tmp_path: Path) -> None:
    stage = Stage()
    async with stage.open() as me:
        me.prompt.write(f"/image {tmp_path / 'nothing.png'}")
        await me.press("enter")
        await me.until(lambda: any("nothing.png" in notice for notice in me.notices))
        await chips(me, 0)


async def test_a_chip_goes_with_one_key(tmp_path: Path) -> None:
    paths = [str(drawn_file(tmp_path, name)) for name in ("a.png", "b.png")]
    stage = Stage(pictures=paths)
    async with stage.open() as me:
        await chips(me, 2)
        await me.press("backspace")
        await chips(me, 1)
        await me.sees("a.png")
        assert "b.png" not in me.seen()


async def test_a_chip_goes_with_a_click(tmp_path: Path) -> None:
    paths = [str(drawn_file(tmp_path, name)) for name in ("a.png", "b.png")]
    stage = Stage(pictures=paths)
    async with stage.open() as me:
        first, _ = await chips(me, 2)
        await me.pilot.click(first.query_one(Remove))
        await chips(me, 1)
        assert "a.png" not in me.seen()


async def test_a_question_goes_with_its_pictures_and_they_stand_beside_it(tmp_path: Path) -> None:
    engine = FakeEngine(("A circle.",))
    stage = Stage(engine, pictures=[str(drawn_file(tmp_path))])
    async with stage.open() as me:
        await chips(me, 1)
        await me.says("What is it?")
        await me.answered()
        await chips(me, 0)
        assert [picture.name for picture in engine.conversations[0].pictures] == ["shapes.png"]
        (cells,) = me.screen.transcript.query(PictureCells)
        assert cells.loaded
        await me.sees("320×240 · 64 tokens")
        line = next(line for line in me.seen().splitlines() if "What is it?" in line and "▀" in line)
        assert line.index("▀") < line.index("What is it?")


async def test_pictures_alone_are_a_message(tmp_path: Path) -> None:
    engine = FakeEngine(("A circle.",))
    stage = Stage(engine, pictures=[str(drawn_file(tmp_path))])
    async with stage.open() as me:
        await chips(me, 1)
        await me.press("enter")
        await me.answered()
        assert len(engine.conversations[0].pictures) == 1


async def test_several_pictures_in_one_turn(tmp_path: Path) -> None:
    paths = [str(drawn_file(tmp_path, f"{name}.png", size)) for name, size in (("a", (90, 30)), ("b", (30, 90)))]
    stage = Stage(pictures=paths)
    async with stage.open() as me:
        await chips(me, 2)
        await me.says("Compare them.")
        await me.answered()
        await me.sees("a.png")
        await me.sees("b.png")


async def test_enter_on_a_question_shows_its_picture_large(tmp_path: Path) -> None:
    stage = Stage(pictures=[str(drawn_file(tmp_path))])
    async with stage.open() as me:
        await chips(me, 1)
        await me.says("What is it?")
        await me.answered()
        await me.press("shift+tab", "up", "enter")
        assert isinstance(stage.app.screen, PictureViewer)
        await me.pictures_shown()
        assert stage.app.screen.query_one(PictureCells).size.width > 30
        await me.press("escape")
        assert me.is_back()


async def test_a_click_on_a_picture_shows_it_large(tmp_path: Path) -> None:
    stage = Stage(pictures=[str(drawn_file(tmp_path))])
    async with stage.open() as me:
        await chips(me, 1)
        await me.says("What is it?")
        await me.answered()
        await me.pilot.click(me.screen.transcript.query_one(PictureCells))
        await me.until(lambda: isinstance(stage.app.screen, PictureViewer))


async def test_the_paste_key_takes_a_picture_from_the_clipboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = drawn_file(tmp_path).read_bytes()
    monkeypatch.setattr(chat_screen, "paste_picture", lambda env: data)
    stage = Stage()
    async with stage.open() as me:
        await me.press("ctrl+v")
        await chips(me, 1)


async def test_an_empty_clipboard_says_why_and_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(env: object) -> bytes:
        raise PictureError("There is no picture in the clipboard.", "Install wl-clipboard.")

    monkeypatch.setattr(chat_screen, "paste_picture", nothing)
    stage = Stage()
    async with stage.open() as me:
        await me.press("ctrl+v")
        await me.sees("There is no picture in the clipboard.")
        await me.sees("Install wl-clipboard.")


async def test_chips_count_the_pictures_that_are_there(tmp_path: Path) -> None:
    stage = Stage(pictures=[str(drawn_file(tmp_path, name)) for name in ("a.png", "b.png", "c.png")])
    async with stage.open() as me:
        first, *_ = await chips(me, 3)
        await me.sees("picture 3")
        me.session.detach(first.number)
        await chips(me, 2)
        await me.until(lambda: "picture 1" in me.seen() and "picture 3" not in me.seen())
