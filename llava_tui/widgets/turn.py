"""A turn of the conversation: a question with its pictures, or an answer.

In: a `Turn` as it is kept, and how to open a picture. Out: `TurnCommand` and `PicturesOpened` for the keys that work on
a focused turn. What a person wrote is never read as markup.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, ItemGrid, Vertical
from textual.events import Click
from textual.message import Message

from llava_engine.terminal_safe import SafeText, one_line, strip_control
from llava_tui.history.turns import PictureRef, Turn
from llava_tui.screens.command_table import bindings
from llava_tui.session.displayed_picture import Shown
from llava_tui.widgets.answer import AnswerText
from llava_tui.widgets.graphics import Graphics
from llava_tui.widgets.messages import PicturesOpened, TurnCommand
from llava_tui.widgets.preview import Preview
from llava_tui.widgets.words import Content, Words, content

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class PictureDesk:
    """How turns show their pictures.

    Attributes:
        open: gives a kept picture, RGB; slow, called in a thread; may raise.
        graphics: makes the widget for the terminal's own protocol; None for half cells.
    """

    open: Callable[[PictureRef], Image.Image]
    graphics: Graphics | None = None

    def shown(self, ref: PictureRef) -> Shown:
        """A kept picture as a preview takes it."""
        return Shown(one_line(ref.name), (ref.width, ref.height), partial(self.open, ref), ref.tokens)


class Note(Words):
    """The quiet line below a turn; a click on one of its two arrows asks for the version before or after."""

    @dataclass
    class Turned(Message):
        """An arrow was clicked."""

        step: int

    def on_click(self, event: Click) -> None:
        text = self.visual.plain if isinstance(self.visual, Content) else ""
        if "‹" in text:
            middle = (text.index("‹") + text.index("›")) // 2
            self.post_message(self.Turned(-1 if event.x <= middle else 1))


class TurnView(Vertical, can_focus=True):
    """One turn; its keys are those of the table of commands."""

    DEFAULT_CSS = """
    TurnView { height: auto; }
    TurnView .note { height: auto; }
    TurnView .words { width: 1fr; height: auto; }
    TurnView .beside { height: auto; }
    TurnView .row { height: auto; }
    """
    BINDINGS = bindings("turn")
    FOCUS_ON_CLICK = False  # one who clicks and types on means the prompt, not the keys of a turn

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn

    def note(self) -> Content:
        """The quiet line below the turn; empty when there is nothing to say."""
        if self.turn.versions > 1:
            return content(strip_control(f"‹ {self.turn.version} of {self.turn.versions} ›"))
        return content()

    def replace(self, turn: Turn) -> None:
        """The same turn, with another state."""
        self.turn = turn
        note = self.note()
        line = self.query_one(".note", Words)
        line.say(note)
        line.display = bool(note.plain)

    def action_move(self, step: int) -> None:
        views = list(self.screen.query(TurnView))
        at = views.index(self) + step
        if at >= len(views):
            self.post_message(TurnCommand(self.turn, "leave"))
        elif at >= 0:
            views[at].focus()

    def action_copy(self) -> None:
        self.post_message(TurnCommand(self.turn, "copy"))

    def action_regenerate(self) -> None:
        self.post_message(TurnCommand(self.turn, "regenerate"))

    def action_edit(self) -> None:
        self.post_message(TurnCommand(self.turn, "edit"))

    def action_flip(self, step: int) -> None:
        self.post_message(TurnCommand(self.turn, "flip", step))

    def action_leave(self) -> None:
        self.post_message(TurnCommand(self.turn, "leave"))

    def action_open(self) -> None:
        """Only a question has pictures."""

    def _note_line(self) -> Note:
        note = self.note()
        line = Note(note, classes="note")
        line.display = bool(note.plain)
        return line

    def on_note_turned(self, event: Note.Turned) -> None:
        event.stop()
        self.action_flip(event.step)


class QuestionView(TurnView):
    """What a person asked, its pictures beside it."""

    def __init__(self, turn: Turn, desk: PictureDesk) -> None:
        super().__init__(turn)
        self._desk = desk
        self._waits_for = SafeText("")

    def compose(self) -> ComposeResult:
        words = Words(strip_control(self.turn.text), classes="words")
        words.display = bool(self.turn.text.strip())
        previews = [Preview(self._desk.shown(ref), self._box(), self._desk.graphics) for ref in self.turn.pictures]
        if len(previews) <= 1:
            with Horizontal(classes="beside"):
                yield from previews
                yield words
        else:
            with ItemGrid(min_column_width=self._box()[0], stretch_height=False, classes="row"):
                yield from previews
            yield words
        yield self._note_line()

    def price(self, costs: tuple[int | None, ...]) -> None:
        """An answer has told what the pictures cost."""
        for preview, cost in zip(self.query(Preview), costs, strict=False):
            if cost is not None:
                preview.price(cost)

    def wait(self, reason: SafeText) -> None:
        """The question waits to be answered, for this reason; "" when it does not."""
        if reason != self._waits_for:
            self._waits_for = reason
            self.set_class(bool(reason), "queued")
            self.replace(self.turn)

    def note(self) -> Content:
        return _dotted(content(self._waits_for), super().note())

    def action_open(self, index: int = 0) -> None:
        if pictures := [preview.shown for preview in self.query(Preview)]:
            self.post_message(PicturesOpened(pictures, index))

    def on_preview_opened(self, event: Preview.Opened) -> None:
        event.stop()
        self.action_open(list(self.query(Preview)).index(event.preview))

    def _box(self) -> tuple[int, int]:
        """The room for one picture: a third of the screen's height, less when several stand in a row."""
        width, height = self.app.size
        rows = max(5, min(16, height // 3))
        columns = max(12, min(36, width * 2 // 5))
        return (columns, rows) if len(self.turn.pictures) <= 1 else (min(22, columns), min(9, rows))


class AnswerView(TurnView):
    """What the model answered, growing while it is being written."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(turn)
        self._progress = SafeText("")

    def compose(self) -> ComposeResult:
        yield AnswerText(strip_control(self.turn.text))
        yield self._note_line()

    def on_mount(self) -> None:
        self._mark()

    def progress(self, words: SafeText) -> None:
        """How far it is before its first word; "" when that is not said."""
        if words != self._progress:
            self._progress = words
            self.replace(self.turn)

    async def grow(self, text: str) -> None:
        """Show one more batch."""
        await self.query_one(AnswerText).append(strip_control(text))
        first = not self.turn.text
        self.turn = replace(self.turn, text=self.turn.text + text)
        if first:
            self.replace(self.turn)

    async def finish(self, turn: Turn) -> None:
        """The answer ended; `turn.text` is all of it."""
        answer = self.query_one(AnswerText)
        text = strip_control(turn.text)
        if text.startswith(answer.text):
            if rest := text[len(answer.text) :]:
                await answer.append(strip_control(rest))
            await answer.finish()
        else:
            fresh = AnswerText(text)
            await self.mount(fresh, before=answer)
            await answer.remove()
        self.replace(turn)

    def replace(self, turn: Turn) -> None:
        super().replace(turn)
        self._mark()

    def note(self) -> Content:
        turn = self.turn
        note = super().note()
        if turn.status == "cancelled":
            word = SafeText("stopped")
        elif turn.status == "streaming" and not turn.text:
            word = self._progress or SafeText("…")
        elif turn.status == "interrupted":
            word = one_line(turn.error) or SafeText("interrupted: the program ended while this was written")
        elif turn.status == "failed":
            word = one_line(turn.error) or SafeText("failed")
        elif turn.stats and turn.stats.finish_reason == "length":
            word = SafeText("cut off: the limit of tokens was reached")
        else:
            return _dotted(note, self._who())
        return _dotted(content(word), note, self._who())

    def _who(self) -> Content:
        """Which model gave it, where there are several answers to compare."""
        stats = self.turn.stats
        return content(one_line(stats.model) if stats and self.turn.versions > 1 else SafeText(""))

    def _mark(self) -> None:
        self.set_class(self.turn.status == "failed" or bool(self.turn.error), "failed")


def _dotted(*parts: Content) -> Content:
    """Those parts that say something, with a dot between them."""
    return content(SafeText("  ·  ")).join(part for part in parts if part.plain)
