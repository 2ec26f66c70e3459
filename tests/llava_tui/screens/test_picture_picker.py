"""Looking for a picture in folders: only pictures are listed, the one under the cursor is shown, Enter attaches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from llava_tui.screens.picture_picker import PicturePicker
from llava_tui.widgets.preview import PictureCells
from tests.llava_tui.stage import Stage, drawn_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a picture, a broken one, a text, a folder with another picture, and hidden things."""
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    drawn_file(folder, "shapes.png")
    drawn_file(folder / "deep", "inner.png", (90, 30))
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("words")
    (folder / ".hidden.png").write_bytes(b"")
    monkeypatch.chdir(folder)
    return folder


async def test_only_pictures_and_folders_are_listed(folder: Path) -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.press("ctrl+o")
        await me.sees("shapes.png")
        assert "deep" in me.seen()
        assert "notes.txt" not in me.seen()
        assert ".hidden" not in me.seen()


async def test_the_picture_under_the_cursor_is_shown_and_enter_attaches_it(folder: Path) -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.press("ctrl+o")
        await me.sees("shapes.png")
        await me.press("down", "down", "down")  # deep, broken.jpg, shapes.png
        await me.sees("320×240")
        await me.until(lambda: bool(stage.app.screen.query(PictureCells)))
        await me.pictures_shown()
        assert "▀▀▀▀▀▀" in me.seen()
        await me.press("enter")
        await me.until(lambda: len(me.session.tray.ready) == 1)
        assert me.session.tray.ready[0].picture.name == "shapes.png"


async def test_a_broken_picture_says_so(folder: Path) -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.press("ctrl+o")
        await me.sees("broken.jpg")
        await me.press("down", "down")
        await me.sees("is a text file")


async def test_left_goes_to_the_folder_above_and_escape_attaches_nothing(folder: Path) -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.press("ctrl+o")
        await me.sees("shapes.png")
        await me.press("left")
        await me.until(lambda: "shapes.png" not in me.seen())
        await me.press("escape")
        assert not isinstance(stage.app.screen, PicturePicker)
        assert not me.session.tray.ready
        assert not me.session.tray.opening
