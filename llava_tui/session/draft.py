"""The message that is not sent yet: its pictures, and its text while it waits for them, or for the history.

Holds it to what the model can hold, before a picture is decoded or a token counted. Knows no chat.
"""

from __future__ import annotations

from collections.abc import Callable

from llava_engine.contract import ModelCard
from llava_engine.pictures.opening import Picture
from llava_engine.terminal_safe import SafeText, one_line
from llava_tui.session.attachments import AttachmentTray, FailedAttachment, Source
from llava_tui.session.events import Attached, AttachFailed, Notice, Unsent
from llava_tui.session.model_words import title_of
from llava_tui.session.outbox import Outbox

TOKEN_LETTERS = 16
"""The longest pieces of usual vocabularies: a text of more letters than this times the context is too long for sure."""

LONGEST_TEXT = 100_000
"""Letters, whatever the model holds: on one line, so many cost some 50 ms a key (a million: more than a second)."""

UNKNOWN_PICTURES = 16
"""Pictures, while no model has said what one costs."""


class Draft:
    """A message in the making.

    Args:
        out: is told what becomes of pictures and of the text.
        open_source: source -> Picture; raises PictureError. Runs in a background thread.
        keep: called with each opened picture in that thread.
        card: what is true of the model; None while there is none.

    Attributes:
        tray: the pictures.
        waiting: the text that was sent and waits for pictures or the history; None when nothing waits.
    """

    def __init__(
        self,
        out: Outbox,
        open_source: Callable[[Source], Picture],
        keep: Callable[[Picture], object],
        card: Callable[[], ModelCard | None],
    ) -> None:
        self._out = out
        self._card = card
        self.tray = AttachmentTray(open_source, keep)
        self.waiting: str | None = None

    @property
    def longest_text(self) -> int:
        """How many letters a text may have."""
        card = self._card()
        if card is None or card.context_length is None:
            return LONGEST_TEXT
        return min(LONGEST_TEXT, TOKEN_LETTERS * card.context_length)

    def takes(self, letters: int) -> bool:
        """Whether a text may have so many letters; a notice says why not."""
        if letters <= self.longest_text:
            return True
        self._out.add(
            Notice(
                one_line(f"{letters:,} letters are too many: the limit here is {self.longest_text:,}."),
                SafeText("Use a part of the text."),
                "warning",
            )
        )
        return False

    def attach(self, source: Source, *, at_once: bool) -> int | None:
        """Put a picture into the tray; its number, or None with a notice when the model can not hold one more."""
        card = self._card()
        if card is not None and "pictures" in card.cannot:
            cause = one_line(f"{title_of(card)} can not see pictures.")
            self._out.add(Notice(cause, SafeText("Load another with /model."), "warning"))
            return None
        most = UNKNOWN_PICTURES
        if card is not None and card.context_length is not None:
            most = max(1, card.context_length // max(1, card.picture_tokens or 1))
        if len(self.tray) >= most:
            why = "are taken before the model is loaded" if card is None else "fit into what the model can hold"
            said = one_line(f"No more than {most} pictures {why}.")
            self._out.add(Notice(said, SafeText("Take some out, or send them in several messages."), "warning"))
            return None
        return self.tray.add(source, at_once=at_once)

    def hold(self, text: str) -> None:
        """Let the text wait, until `poll` says that it may go."""
        self.tray.open_all()
        self.waiting = text if self.waiting is None else f"{self.waiting}\n{text}"

    def give_back(self) -> None:
        """What waits is not sent after all."""
        if self.waiting is not None:
            self._out.add(Unsent(self.waiting))
            self.waiting = None

    def poll(self) -> str | None:
        """Tell what became of pictures; the text that waited for the last of them, when it may go now."""
        failed = False
        for result in self.tray.poll():
            if isinstance(result, FailedAttachment):
                failed = True
                self._out.add(AttachFailed(result.number))
                self._out.tell(result.error)
            else:
                self._out.add(Attached(result))
        if failed:
            self.give_back()
        if self.waiting is None or self.tray.opening:
            return None
        text, self.waiting = self.waiting, None
        return text
