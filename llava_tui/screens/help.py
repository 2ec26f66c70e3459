"""What can be done and how, from the table of commands."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen

from llava_engine.terminal_safe import SafeText, strip_control
from llava_tui.screens.command_table import COMMANDS, Where, key_name
from llava_tui.widgets.words import Content, Words, content

PARTS: tuple[tuple[Where, str], ...] = (
    ("prompt", "While you write"),
    ("chat", "Anywhere"),
    ("turn", "On a message (Shift+Tab goes to one)"),
)


class HelpScreen(ModalScreen[None]):
    """Keys and slash commands."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,f1,question_mark", "dismiss", "Close", show=False)]

    def compose(self) -> ComposeResult:
        with Vertical(id="help"):
            with VerticalScroll(id="keys"):
                for where, title in PARTS:
                    yield Words(strip_control(title), classes="part")
                    yield Words(_table(where), classes="table")
            yield Words(SafeText("Ctrl+P finds any command by its name   Esc closes"), id="foot")

    def on_click(self) -> None:
        self.dismiss()


def _table(where: Where) -> Content:
    """A line for each command: what it does, its keys, its slash command."""
    lines = []
    for command in COMMANDS:
        if command.where == where:
            keys = " ".join(key_name(key) for key in command.keys)
            word = f"/{command.slash} {command.argument}".rstrip() if command.slash else ""
            does = strip_control(f"{command.title:<31}")
            lines.append(content((strip_control(f"{keys:<20}"), "bold"), does, (strip_control(word), "dim")))
    return content(SafeText("\n")).join(lines)
