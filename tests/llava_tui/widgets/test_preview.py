"""A picture on the screen: its place is kept, it comes from another thread, and what fails leaves its name."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from PIL import Image
from textual.widget import Widget
from textual.widgets import Static

from llava_tui.session.displayed_picture import Shown
from llava_tui.widgets.graphics import graphics_for
from llava_tui.widgets.preview import PictureCells, Preview
from tests.llava_tui.widgets.bench import Bench


async def until(enough: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not enough():
            await asyncio.sleep(0.01)


def test_a_caption_says_name_size_and_cost() -> None:
    shown = Shown("cat.png", (640, 480), Image.Image, 576)
    assert shown.caption == "cat.png · 640×480 · 576 tokens"


async def test_the_place_is_kept_until_the_picture_comes() -> None:
    gate = threading.Event()
    threads: list[int] = []

    def opened() -> Image.Image:
        threads.append(threading.get_ident())
        gate.wait(60)
        return Image.new("RGB", (64, 48), "red")

    app = Bench(Preview(Shown("red.png", (640, 480), opened), (20, 9)))
    async with app.run_test(size=(60, 20)) as pilot:
        cells = app.query_one(PictureCells)
        await pilot.pause()
        before = cells.region
        assert not cells.loaded
        assert "red.png" in "\n".join(app.seen())
        gate.set()
        await until(lambda: cells.loaded)
        await pilot.pause()
        assert cells.region == before
        assert (before.width, before.height) == (20, 8)
        assert app.seen()[0] == "▀" * 20
        assert threads != [threading.get_ident()]


async def test_a_picture_that_can_not_be_opened_leaves_its_name() -> None:
    def opened() -> Image.Image:
        raise OSError("gone")

    app = Bench(Preview(Shown("gone.png", (64, 64), opened), (20, 9)))
    async with app.run_test(size=(60, 20)) as pilot:
        cells = app.query_one(PictureCells)
        await until(lambda: cells.failed)
        await pilot.pause()
        assert "gone.png" in "\n".join(app.seen())


async def test_a_large_picture_is_made_small_before_it_is_kept() -> None:
    class Taker(Static):
        def __init__(self, image: Image.Image) -> None:
            super().__init__("")
            taken.append(image.size)

    taken: list[tuple[int, int]] = []
    make: Callable[[Image.Image], Widget] = Taker
    shown = Shown("big.png", (3000, 2000), lambda: Image.new("RGB", (3000, 2000)))
    app = Bench(Preview(shown, (20, 9), make))
    async with app.run_test(size=(60, 20)):
        await until(lambda: bool(taken))
    assert taken == [(800, 533)]


async def test_it_takes_no_more_room_than_there_is() -> None:
    shown = Shown("wide.png", (800, 400), lambda: Image.new("RGB", (800, 400)))
    app = Bench(Preview(shown, (36, 16)))
    async with app.run_test(size=(20, 20)) as pilot:
        await until(lambda: app.query_one(PictureCells).loaded)
        await pilot.pause()
        assert app.query_one(PictureCells).region.size == (20, 5)


def test_half_cells_need_no_graphics() -> None:
    assert graphics_for("halfcell") is None
    assert graphics_for("none") is None


def test_a_protocol_has_its_own_widget() -> None:
    from textual_image.widget import SixelImage, TGPImage

    assert graphics_for("tgp") is TGPImage
    assert graphics_for("sixel") is SixelImage
