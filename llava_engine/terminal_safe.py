"""Text from outside (a model, a file, a server, a person) -> text that can not command a terminal.

Taken out: escape sequences (ECMA-48: CSI, OSC, DCS and their kin, in 7 and 8 bits), control characters other than
newline and tab, the characters that reverse the reading order, and invisible ones that are no letters of any script.
What such a sequence would have wrapped stays. CR and CRLF are line ends, as terminals paste them.

The joiners U+200C and U+200D (Persian, family emoji), the direction marks U+200E, U+200F and U+061C (they show how
their neighbours run, and reverse nothing) and the tags of flag emoji are letters of a text, and stay.

`SafeText` is what comes out. Whatever shows text takes it, so that the type checker finds who forgot. Nothing else
makes it, but literals in our own code: `SafeText("…")`.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NewType

SafeText = NewType("SafeText", str)
"""Text that can not command a terminal, of any number of lines."""

_SUSPECT = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 except tab and newline, DEL, C1
    "\u202a-\u202e\u2066-\u2069"  # embeddings, overrides and isolates of the reading order
    "\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb"  # no width and no letter: two names look alike
    "\ud800-\udfff"  # half a character: can not be written to any terminal
    "]"
)
_NO_CELLS = re.compile(rf"{_SUSPECT.pattern}|[\t\n]")


class _State(Enum):
    TEXT = auto()
    ESCAPE = auto()  # after ESC
    SEQUENCE = auto()  # in CSI: parameters, until a letter
    STRING = auto()  # in OSC, DCS, SOS, PM, APC: until BEL or ST
    STRING_ESCAPE = auto()  # after ESC in such a string: a backslash makes it ST


class ControlStripper:
    """The same for text that comes in pieces: a sequence that is cut in two does not leak."""

    def __init__(self) -> None:
        self._state = _State.TEXT
        self._returned = False  # the last character was a CR, which an LF may follow

    def push(self, text: str) -> SafeText:
        """What of this piece may be shown. Nothing is ever held back, so there is no flush."""
        if self._state is _State.TEXT and not self._returned and not _SUSPECT.search(text):
            return SafeText(text)
        return SafeText("".join(map(self._take, text)))

    def _take(self, character: str) -> str:
        if character == "\n" and self._returned:
            self._returned = False
            return ""
        self._returned = character == "\r"
        if self._returned:
            character = "\n"
        if character == "\x1b":
            in_string = self._state is _State.STRING
            self._state = _State.STRING_ESCAPE if in_string else _State.ESCAPE
            return ""
        match self._state:
            case _State.STRING:
                # A string ends at a line's end too, or one stray introducer would swallow a whole answer.
                if character not in "\x07\x9c\x18\x1a\n":
                    return ""
                self._state = _State.TEXT
                return "\n" if character == "\n" else ""
            case _State.STRING_ESCAPE:
                self._state = _State.TEXT
                if character == "\\":
                    return ""
                self._state = _State.ESCAPE
                return self._take(character)
            case _State.ESCAPE:
                return self._after_escape(character)
            case _State.SEQUENCE:
                if "\x20" <= character <= "\x3f":
                    return ""
                self._state = _State.TEXT
                return "" if "\x40" <= character <= "\x7e" else self._plain(character)
            case _State.TEXT:
                return self._plain(character)

    def _after_escape(self, character: str) -> str:
        if "\x20" <= character <= "\x2f":  # an intermediate byte: more will come
            return ""
        self._state = _State.TEXT
        if character == "[":
            self._state = _State.SEQUENCE
        elif character in "]PX^_":
            self._state = _State.STRING
        elif not "\x30" <= character <= "\x7e":
            return self._plain(character)
        return ""

    def _plain(self, character: str) -> str:
        if character == "\x9b":
            self._state = _State.SEQUENCE
        elif character in "\x90\x98\x9d\x9e\x9f":
            self._state = _State.STRING
        elif "\ud800" <= character <= "\udfff":
            return "\ufffd"
        return "" if _SUSPECT.match(character) else character


def strip_control(text: str) -> SafeText:
    """The text without anything that commands a terminal."""
    return ControlStripper().push(text)


def strip_cells(text: str) -> SafeText:
    """For text that has been laid out in cells already: only single characters go, so that its width stays as it is.

    They have no width. Line ends and tabs go too: laying out has dealt with those that were meant.
    """
    return SafeText(_NO_CELLS.sub("", text))


def one_line(text: str) -> SafeText:
    """The same on one line, its blanks squeezed: for names and titles, which may hold line ends."""
    return SafeText(" ".join(strip_control(text).split()))
