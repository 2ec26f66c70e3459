"""Where a person writes: a text of several lines that grows, with chips above it and a line of hints below it.

Out: `MessageSent`, `TextPasted`, `ClipboardWanted`, `ChipRemoved`, `HelpWanted`. What is typed stays
text; whether it is a command or names a picture is for the screen to find out.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key, Paste
from textual.widgets import TextArea

from llava_engine.terminal_safe import SafeText, strip_control
from llava_tui.screens.command_table import Command, bindings, completions
from llava_tui.terminal.letters import letter
from llava_tui.widgets.chips import Chips
from llava_tui.widgets.messages import ChipRemoved, ClipboardWanted, HelpWanted, MessageSent, TextPasted
from llava_tui.widgets.words import Words, content

_COMMAND = 100
"""Letters of a text in which a slash command is looked for, at each key; none is so long."""


class PromptText(TextArea):
    """The text itself. Enter sends, and the keys of the table of commands do what it says."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("prompt"),
        Binding("pageup", "screen.page(-1)", show=False),  # the conversation's pages, not the text's few lines
        Binding("pagedown", "screen.page(1)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(placeholder="Ask about a picture …", compact=True, highlight_cursor_line=False)
        self._sent: list[str] = []
        self._back = 0
        self._draft = ""

    def remember(self, texts: list[str]) -> None:
        """What the up key brings back: earlier messages, oldest first."""
        self._sent = texts
        self._back = 0

    def write(self, text: str) -> None:
        """Replace the text, and stand at its end."""
        self.text = text
        self.move_cursor(self.document.end)

    @property
    def letters(self) -> int:
        """How long the text is, without putting it together."""
        lines = self.document.line_count
        return sum(len(self.document.get_line(line)) for line in range(lines)) + lines - 1

    @property
    def beginning(self) -> str:
        """The text while it is one short line, which a command is; its first letters otherwise. For each key."""
        return self.document.get_line(0)[:_COMMAND] + ("\n" if self.document.line_count > 1 else "")

    def give_back(self, text: str) -> None:
        """A text that was not sent after all; what was written meanwhile stays below it."""
        self.write("\n".join(part for part in (text, self.text) if part))

    def action_send(self) -> None:
        text = self.text
        if (matches := completions(text)) and text != f"/{matches[0].slash}":
            self.write(f"/{matches[0].slash} ")
            if matches[0].argument:
                return
            text = self.text
        self.post_message(MessageSent(text.rstrip()))

    def sent(self, text: str) -> None:
        """The text went out: begin anew."""
        if text.strip() and (not self._sent or self._sent[-1] != text):
            self._sent.append(text)
        self._back = 0
        self.text = ""

    def action_newline(self) -> None:
        self.insert("\n")

    def action_recall(self, step: int) -> None:
        """Up and down move the cursor, and at the first or last line they leaf through earlier messages."""
        if step < 0 and self.cursor_at_first_line and self._back < len(self._sent):
            if self._back == 0:
                self._draft = self.text
            self._back += 1
            self.write(self._sent[-self._back])
        elif step > 0 and self.cursor_at_last_line and self._back > 0:
            self._back -= 1
            self.write(self._sent[-self._back] if self._back else self._draft)
        elif step < 0:
            self.action_cursor_up()
        else:
            self.action_cursor_down()

    def action_paste_anything(self) -> None:
        self.post_message(ClipboardWanted())

    def action_delete_left(self) -> None:
        if self.selection.is_empty and self.cursor_location == (0, 0):
            self.post_message(ChipRemoved(None))
        else:
            super().action_delete_left()

    async def _on_paste(self, event: Paste) -> None:
        event.stop()
        event.prevent_default()
        self.post_message(TextPasted(event.text))

    async def _on_key(self, event: Key) -> None:
        if event.key == "question_mark" and not self.beginning:
            event.stop()
            event.prevent_default()
            self.post_message(HelpWanted())
        elif event.key == "tab" and (matches := completions(self.beginning)):
            event.stop()
            event.prevent_default()
            self.write(f"/{matches[0].slash} ")
        elif event.key == "enter":
            event.prevent_default()  # no line break; the key goes on to its binding
        elif not event.is_printable and (typed := letter(event)):
            event.stop()
            event.prevent_default()
            self.replace(typed, *self.selection, maintain_selection_offset=False)


class Prompt(Vertical):
    """Chips, text and hints in one frame."""

    DEFAULT_CSS = """
    Prompt { height: auto; }
    Prompt .commands { height: auto; }
    Prompt .frame { height: auto; }
    PromptText { height: auto; max-height: 8; }
    """

    _hint = SafeText("")

    def compose(self) -> ComposeResult:
        yield Words(classes="commands")
        with Vertical(classes="frame"):
            yield Chips()
            yield PromptText()

    def on_mount(self) -> None:
        self.query_one(".commands").display = False

    @property
    def area(self) -> PromptText:
        """The text."""
        return self.query_one(PromptText)

    @property
    def chips(self) -> Chips:
        """The pictures of the tray."""
        return self.query_one(Chips)

    def hint(self, text: SafeText) -> None:
        """What the keys do now, on the frame's lower edge."""
        if text != self._hint:  # setting it draws the frame anew, the same or not
            self._hint = text
            self.query_one(".frame").border_subtitle = content(text).markup  # Textual reads it as markup

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self._suggest(completions(self.area.beginning))

    def _suggest(self, commands: list[Command]) -> None:
        """Show which commands the text may become."""
        lines = []
        for command in commands:
            word = f"/{command.slash} {command.argument}".rstrip()
            lines.append(content((strip_control(f"{word:<24}"), "bold"), (strip_control(command.title), "dim")))
        shown = self.query_one(".commands", Words)
        shown.say(content(SafeText("\n")).join(lines))
        shown.display = bool(lines)
