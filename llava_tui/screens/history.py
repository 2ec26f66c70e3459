"""Earlier chats: search, resume, delete. In: a search over the kept chats. Out: the key of the chosen one, or None."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar, Protocol

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from llava_engine.terminal_safe import SafeText, one_line, strip_control
from llava_tui.history.turns import Chat
from llava_tui.terminal.letters import letter
from llava_tui.widgets.words import Content, Words, content


class Deleting(Protocol):
    """Deletes chats, and brings them back: the session."""

    def delete_chat(self, chat_id: int) -> None: ...

    def bring_back(self) -> Chat | None: ...


class SearchWords(Input):
    """What to search for, in any letters. Its edit keys are its own as long as there is something to edit."""

    class Spare(Message):
        """Delete was pressed where nothing can be deleted."""

    def action_delete_right(self) -> None:
        if self.value:
            super().action_delete_right()
        else:
            self.post_message(self.Spare())

    async def _on_key(self, event: Key) -> None:
        if not event.is_printable and (typed := letter(event)):
            event.stop()
            event.prevent_default()
            self.insert_text_at_cursor(typed)


class HistoryScreen(ModalScreen[int | None]):
    """The list of chats, newest first.

    Args:
        chats: those that a search finds; all for "".
        session: deletes one by its key, and brings it back.
        words: what to search for at first.
    """

    CSS_PATH = "history.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", show=False),
        Binding("down", "walk(1)", "Down", show=False),
        Binding("up", "walk(-1)", "Up", show=False),
        Binding("ctrl+d,delete", "delete", "Delete", show=False),
        Binding("ctrl+z", "bring_back", "Undo", show=False),
    ]

    def __init__(self, chats: Callable[[str], list[Chat]], session: Deleting, words: str = "") -> None:
        super().__init__()
        self._chats = chats
        self._session = session
        self._words = words
        self._doomed: str | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="history"):
            yield Words(SafeText("Earlier chats"), id="heading")
            yield SearchWords(self._words, placeholder="Search in everything that was said", compact=True)
            yield OptionList(markup=False, compact=True)
            yield Words(id="foot")

    def on_mount(self) -> None:
        self._search(self._words)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._search(event.value)

    def on_input_submitted(self) -> None:
        self.query_one(OptionList).action_select()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(int(event.option_id or 0))

    def on_option_list_option_highlighted(self) -> None:
        self._doom(None)

    def action_walk(self, step: int) -> None:
        """Up and down work while one types."""
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def action_delete(self) -> None:
        """The first press asks, the second deletes."""
        options = self.query_one(OptionList)
        if options.highlighted is None:
            return
        chosen = options.get_option_at_index(options.highlighted).id
        if chosen is None or chosen != self._doomed:
            self._doom(chosen)
            return
        at = options.highlighted
        self._session.delete_chat(int(chosen))
        self._search(self.query_one(Input).value, at)
        self.query_one("#foot", Words).say(SafeText("Deleted.   Ctrl+Z brings it back, until llava is closed"))

    def on_search_words_spare(self) -> None:
        self.action_delete()

    def action_bring_back(self) -> None:
        """Undo the last deletion, and the ones before it."""
        chat = self._session.bring_back()
        if chat is None:
            return
        options = self.query_one(OptionList)
        self._search(self.query_one(Input).value)
        ids = [options.get_option_at_index(index).id for index in range(options.option_count)]
        if str(chat.id) in ids:
            options.highlighted = ids.index(str(chat.id))

    def _doom(self, option_id: str | None) -> None:
        self._doomed = option_id
        foot = self.query_one("#foot", Words)
        foot.set_class(option_id is not None, "asking")
        usual = SafeText("Enter resume   Ctrl+D delete   Esc close")
        foot.say(SafeText("Delete this chat? Ctrl+D again deletes it") if option_id else usual)

    def _search(self, words: str, highlight: int = 0) -> None:
        options = self.query_one(OptionList)
        found = self._chats(words)
        options.set_options([Option(_entry(chat, time.time()), id=str(chat.id)) for chat in found])
        options.highlighted = min(highlight, len(found) - 1) if found else None
        self._doom(None)
        if not found:
            self.query_one("#foot", Words).say(SafeText("Nothing found" if words else "No chats yet"))


def _entry(chat: Chat, now: float) -> Content:
    """Two lines: title and when; where the search found it, or how long it is."""
    title = one_line(chat.title) or SafeText("Untitled")
    # Line by line, since squeezed they would lose the blanks between them.
    pieces = [
        (strip_control(strip_control(text).replace("\n", " ")), "bold" if hit else "dim") for text, hit in chat.snippet
    ]
    second = pieces or [(strip_control(f"{chat.turns} messages"), "dim")]
    when = (strip_control(ago(now - chat.updated)), "dim")
    return content(title, SafeText("  "), when, SafeText("\n"), *second)


def ago(seconds: float) -> str:
    """How long ago, in one unit: "just now", "5 minutes ago", "3 days ago"."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        count = int(seconds // size)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
