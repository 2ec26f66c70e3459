"""A picture as large as the screen allows. In: pictures, and which to begin with. Esc, Enter or a click closes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center, Middle, Vertical
from textual.screen import ModalScreen

from llava_engine.terminal_safe import SafeText, strip_control
from llava_tui.session.displayed_picture import Shown
from llava_tui.widgets.graphics import Graphics
from llava_tui.widgets.preview import PictureCells
from llava_tui.widgets.words import Words


class PictureViewer(ModalScreen[None]):
    """Pictures, one at a time.

    Args:
        pictures: what to leaf through; at least one.
        index: the one to begin with.
        graphics: as for `PictureCells`.
    """

    CSS_PATH = "picture_viewer.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,o", "dismiss", "Close", show=False),
        Binding("left,up", "step(-1)", "The picture before", show=False),
        Binding("right,down,space", "step(1)", "The next picture", show=False),
    ]

    def __init__(self, pictures: Sequence[Shown], index: int, graphics: Graphics | None) -> None:
        super().__init__()
        self._pictures = pictures
        self._index = index
        self._graphics = graphics

    def compose(self) -> ComposeResult:
        with Vertical(id="viewer"):
            with Middle(id="wall"), Center():
                yield self._cells()
            yield Words(self._caption(), id="caption")

    async def action_step(self, step: int) -> None:
        index = self._index + step
        if 0 <= index < len(self._pictures):
            self._index = index
            cells = self.query_one(PictureCells)
            async with self.batch():
                await self.query_one(Center).mount(self._cells())
                await cells.remove()
            self.query_one("#caption", Words).say(self._caption())

    def on_click(self) -> None:
        self.dismiss()

    async def on_resize(self) -> None:
        await self.action_step(0)

    def _cells(self) -> PictureCells:
        width, height = self.app.size
        return PictureCells(self._pictures[self._index], (max(1, width - 6), max(1, height - 5)), self._graphics)

    def _caption(self) -> SafeText:
        caption = self._pictures[self._index].caption
        place = f"{self._index + 1} of {len(self._pictures)}" if len(self._pictures) > 1 else ""
        return strip_control("   ".join(part for part in (caption, place, "Esc closes") if part))
