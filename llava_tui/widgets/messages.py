"""What widgets tell the screen that holds them: small values that bubble upward. Nothing here does anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.message import Message

from llava_tui.history.turns import Turn
from llava_tui.session.displayed_picture import Shown


@dataclass
class MessageSent(Message):
    """Enter was pressed in the prompt."""

    text: str


@dataclass
class TextPasted(Message):
    """Text was pasted into the prompt; whether it names pictures is for the screen to find out."""

    text: str


@dataclass
class ClipboardWanted(Message):
    """The paste key: whatever the clipboard holds is wanted."""


@dataclass
class HelpWanted(Message):
    """ "?" in an empty prompt."""


@dataclass
class ChipRemoved(Message):
    """A picture of the tray is to go; None is the last one."""

    number: int | None


@dataclass
class SampleChosen(Message):
    """A sample question of the welcome was pressed."""

    picture: str
    question: str


@dataclass
class TurnCommand(Message):
    """A key on a focused turn that the screen answers to."""

    turn: Turn
    command: Literal["copy", "regenerate", "edit", "flip", "leave"]
    step: int = 0


@dataclass
class PicturesOpened(Message):
    """Pictures are to be shown large, beginning with this one."""

    pictures: list[Shown]
    index: int


@dataclass
class LatestWanted(Message):
    """The pill at the end of the transcript was pressed."""
