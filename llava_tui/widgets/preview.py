"""A picture on the screen, as large as a box of cells allows, with its caption.

In: a `Shown` (name, size, cost, and how to open it). The picture is opened and scaled in a thread; until then its
place is kept, so that nothing moves when it comes. Out: `Preview.Opened` when it is clicked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from llava_tui.session.displayed_picture import Shown
from llava_tui.widgets.graphics import Graphics
from llava_tui.widgets.half_cells import fit, half_cells
from llava_tui.widgets.words import Words

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL = 800
"""Pixels of the longer side that are kept of a picture; terminals show no more."""


class PictureCells(Widget):
    """The picture itself, in the largest shape that fits `box` (columns, rows) and the room there is.

    Args:
        shown: what to show.
        box: columns and rows at most.
        graphics: makes the widget for the terminal's own protocol; None for half cells.
    """

    DEFAULT_CSS = """
    PictureCells { width: auto; height: auto; background: $panel; }
    """

    def __init__(
        self, shown: Shown, box: tuple[int, int], graphics: Graphics | None = None, *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.shown = shown
        self.failed = False
        self._box = box
        self._graphics = graphics
        self._image: Image.Image | None = None
        self._strips: Sequence[Strip] = ()

    @property
    def loaded(self) -> bool:
        """Whether the picture, and not its empty place, is on the screen."""
        return self._image is not None and (self._graphics is not None or bool(self._strips))

    def on_mount(self) -> None:
        self.call_after_refresh(self._open)  # the first frame does not wait for its pictures

    def on_resize(self) -> None:
        if self._image is not None and self._graphics is None:
            self._scale(self._image, self.size)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return self._cells(container, viewport)[0]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._cells(container, viewport)[1]

    def _cells(self, container: Size, viewport: Size) -> tuple[int, int]:
        columns, rows = self._box
        room = container.width or viewport.width  # inside an automatic width Textual knows no container yet
        return fit(self.shown.size, max(1, min(columns, room)), rows)

    def render_line(self, y: int) -> Strip:
        if y < len(self._strips):
            return self._strips[y]
        return Strip([Segment(" " * self.size.width, self.rich_style)], self.size.width)

    @work(thread=True, exit_on_error=False)
    def _open(self) -> None:
        try:
            image = self.shown.open()
            if max(image.size) > THUMBNAIL:
                image = image.copy()
                image.thumbnail((THUMBNAIL, THUMBNAIL))
            image = image.convert("RGB")
        except Exception:  # anything may be wrong with a stored picture, and its place stays; the caption says so
            self._tell(self._fail)
            return
        strips = [] if self._graphics else half_cells(image, *self._cells(self.size, self.app.size))
        self._tell(partial(self._show, image, strips))

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _scale(self, image: Image.Image, size: Size) -> None:
        if size.width and size.height:
            strips = half_cells(image, size.width, size.height)
            self._tell(partial(self._show, image, strips))

    def _tell(self, what: Callable[[], object]) -> None:
        """Do this on the interface's thread, if the screen is still there."""
        if self.is_running and self.app.is_running:
            self.app.call_from_thread(what)

    def _show(self, image: Image.Image, strips: Sequence[Strip]) -> None:
        first = self._image is None
        self._image = image
        if self._graphics is None:
            if strips and len(strips) != self.size.height and self.size.height:
                self._scale(image, self.size)
                return
            self._strips = strips
            self.refresh()
        elif first:
            child = self._graphics(image)
            child.styles.width = "100%"
            child.styles.height = "100%"
            self.mount(child)

    def _fail(self) -> None:
        self.failed = True
        self.add_class("failed")
        self.refresh()


class Preview(Vertical):
    """A picture, and below it its name and its measures.

    Args:
        shown: what to show.
        box: columns and rows that the picture may take at most.
        graphics: as for `PictureCells`.
    """

    DEFAULT_CSS = """
    Preview { width: auto; height: auto; }
    """

    @dataclass
    class Opened(Message):
        """The picture was clicked."""

        preview: Preview

    def __init__(self, shown: Shown, box: tuple[int, int], graphics: Graphics | None = None) -> None:
        super().__init__()
        self.shown = shown
        self._box = box
        self._graphics = graphics

    def compose(self) -> ComposeResult:
        yield PictureCells(self.shown, self._box, self._graphics)
        yield Words(self.shown.name, classes="name")
        yield Words(self.shown.measures, classes="measures")

    def price(self, tokens: int) -> None:
        """The model has counted what the picture costs."""
        self.shown = replace(self.shown, tokens=tokens)
        self.query_one(".measures", Words).say(self.shown.measures)

    def on_click(self) -> None:
        self.post_message(self.Opened(self))
