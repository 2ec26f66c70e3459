"""The pictures that go with the next message: a chip each, with a small preview, its place, and a way to take it out.

In: the tray as it is, as often as one likes. Out: `ChipRemoved`, `PicturesOpened`.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, HorizontalScroll, Vertical
from textual.events import Click

from llava_engine.terminal_safe import SafeText, one_line, strip_control
from llava_tui.session.attachments import Attachment, AttachmentTray
from llava_tui.session.displayed_picture import Shown
from llava_tui.widgets.graphics import Graphics
from llava_tui.widgets.messages import ChipRemoved, PicturesOpened
from llava_tui.widgets.preview import PictureCells
from llava_tui.widgets.words import Words

BOX = (10, 3)
OPENING = SafeText("opening …")
KEPT = SafeText("fetched when sent")


class Remove(Words):
    """The × of a chip."""


class Chip(Horizontal):
    """One picture of the tray; until it is open, only its place among them and what it waits for.

    `number` is the tray's name for it, which stays; "the second picture" in a question goes by `place`.
    """

    def __init__(
        self,
        number: int,
        place: int,
        attachment: Attachment | None,
        tokens: int | None,
        graphics: Graphics | None,
        waits: SafeText,
    ) -> None:
        super().__init__()
        self.number = number
        self.facts = (number, place, attachment is not None, tokens, waits)
        self._place = place
        self._waits = waits
        self._graphics = graphics
        self._shown: Shown | None = None
        if attachment is not None:
            picture = attachment.picture
            name = one_line(picture.name)
            self._shown = Shown(name, picture.size, lambda: attachment.thumbnail, tokens)

    def compose(self) -> ComposeResult:
        shown = self._shown
        if shown:
            yield PictureCells(shown, BOX, self._graphics)
        with Vertical(classes="about"):
            yield Words(strip_control(f"picture {self._place}"), classes="number")
            yield Words(shown.name if shown else self._waits, classes="name")
            yield Words(shown.measures if shown else None, classes="measures")
        yield Remove(SafeText("×"))

    def on_click(self, event: Click) -> None:
        event.stop()
        if isinstance(event.widget, Remove):
            self.post_message(ChipRemoved(self.number))
        elif self._shown:
            self.post_message(PicturesOpened([self._shown], 0))


class Chips(HorizontalScroll, can_focus=False):
    """All chips; not there at all while the tray is empty."""

    def on_mount(self) -> None:
        self.display = False

    @property
    def numbers(self) -> list[int]:
        """The numbers of the chips, in order."""
        return [chip.number for chip in self.query(Chip)]

    async def show(
        self,
        tray: AttachmentTray,
        tokens: int | None,
        graphics: Graphics | None,
    ) -> None:
        """The tray is this now, and a picture costs `tokens` (None: not known yet). Cheap when nothing changed."""
        ready = {attachment.number: attachment for attachment in tray.ready}
        waiting = dict.fromkeys(tray.opening, OPENING) | dict.fromkeys(tray.kept, KEPT)
        chips = [
            Chip(number, place, ready.get(number), tokens, graphics, waiting.get(number, OPENING))
            for place, number in enumerate(sorted({*ready, *waiting}), 1)
        ]
        if [chip.facts for chip in chips] == [chip.facts for chip in self.query(Chip)]:
            return
        async with self.batch():
            await self.query(Chip).remove()
            await self.mount_all(chips)
            self.display = bool(chips)
        self.scroll_end(animate=False)
