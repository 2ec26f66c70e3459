"""What can be done and how, from the table of commands."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from llava_tui.screens.command_table import COMMANDS, Where, key_name

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
                    yield Static(Content(title), classes="part")
                    yield Static(_table(where), classes="table")
            yield Static(Content("Ctrl+P finds any command by its name   Esc closes"), id="foot")

    def on_click(self) -> None:
        self.dismiss()


def _table(where: Where) -> Content:
    """A line for each command: what it does, its keys, its slash command."""
    lines = []
    for command in COMMANDS:
        if command.where == where:
            keys = " ".join(key_name(key) for key in command.keys)
            word = f"/{command.slash} {command.argument}".rstrip() if command.slash else ""
            lines.append(Content.assemble((f"{keys:<20}", "bold"), f"{command.title:<31}", (word, "dim")))
    return Content("\n").join(lines)
