"""What stands above the chat looks like: viewer, picker, history, help, palette."""

from __future__ import annotations

from pathlib import Path

import pytest

from llava_tui import app as app_module
from llava_tui.history.store import Store
from tests.llava_tui.snapshots.scene import Compare, by_size, same
from tests.llava_tui.stage import Person, Stage, drawn_file


@pytest.fixture(autouse=True)
def no_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "samples", list)


def test_a_picture_shown_large(snap_compare: Compare, tmp_path: Path) -> None:
    stage = Stage(pictures=[str(drawn_file(tmp_path))], frozen=True)

    async def act(me: Person) -> None:
        await me.until(lambda: bool(me.session.tray.ready))
        await me.says("What is it?")
        await me.answered()
        await me.press("shift+tab", "up", "enter")
        await me.pictures_shown()

    assert same(snap_compare, stage, act)


def test_picking_a_picture(snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pictures"
    (folder / "holidays").mkdir(parents=True)
    for name in ("one.png", "two.png"):
        drawn_file(folder, name)
    monkeypatch.chdir(folder)

    async def act(me: Person) -> None:
        await me.press("ctrl+o")
        await me.sees("two.png")
        me.stage.app.screen.query_one("#folder").display = False  # its path is another one in every run
        await me.press("down", "down")
        await me.sees("320×240")
        await me.pictures_shown()

    assert same(snap_compare, Stage(frozen=True), act)


def test_earlier_chats(snap_compare: Compare) -> None:
    store = Store.in_memory()
    for question, answer in (("What is the fruit?", "A red apple."), ("Where is the boat?", "On the blue sea.")):
        chat = store.new_chat(question)
        asked = store.add_turn(chat.id, None, "user", question)
        store.add_turn(chat.id, asked.id, "assistant", answer)

    async def act(me: Person) -> None:
        await me.press("ctrl+l")
        await me.types("blue")
        await me.sees("On the blue sea.")

    assert same(snap_compare, Stage(store=store, frozen=True), act)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=by_size)
def test_help(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def act(me: Person) -> None:
        await me.sees("ready")
        await me.press("f1")
        await me.sees("While you write")

    assert same(snap_compare, Stage(frozen=True), act, size)


def test_the_palette(snap_compare: Compare) -> None:
    async def act(me: Person) -> None:
        await me.sees("ready")
        await me.press("ctrl+p")
        await me.types("copy")
        await me.sees("Copy the last answer")

    assert same(snap_compare, Stage(frozen=True), act)
