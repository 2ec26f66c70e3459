"""Bytes of a stream -> the events in it, as the HTML standard's "server-sent events" has them, with what servers add.

Beside the standard: a line that is a JSON object by itself is an event (Ollama writes errors so), and so is what
stands after `error:` (older llama-server). Lines are decoded whole, so no character is cut in two.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST = 2**20
"""Bytes of a line or an event. A chunk of an answer has a few hundred."""


class TooLongError(Exception):
    """An event that has no end."""


@dataclass(frozen=True)
class Event:
    """An event: its kind ("" unless it is named) and what it says."""

    name: str
    data: str


class EventReader:
    """Takes pieces of any size."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._returned = False  # the last byte was a CR, which an LF may follow
        self._first = True
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def push(self, piece: bytes) -> list[Event]:
        """The events that this piece completes.

        Raises:
            TooLongError: an event is longer than any that is meant.
        """
        if not piece:
            return []
        if self._returned and piece[0] == 0x0A:
            piece = piece[1:]
        self._returned = piece.endswith(b"\r")
        found: list[Event] = []
        for part in piece.splitlines(keepends=True):
            text = part.rstrip(b"\r\n")
            self._line += text
            if len(self._line) + self._size > LONGEST:
                raise TooLongError
            if len(text) < len(part):
                found += self._take()
        return found

    def end(self) -> list[Event]:
        """What the stream left without its end: a last line, a last event without the empty line."""
        return [*self._take(), *self._dispatch()]

    def _take(self) -> list[Event]:
        line = self._line.decode("utf-8", "replace")
        self._line.clear()
        if self._first:
            self._first = False
            line = line.removeprefix("\ufeff")
        if not line:
            return self._dispatch()
        if line.startswith("{"):
            return [*self._dispatch(), Event("", line)]
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
            self._size += len(value)
        elif field == "event":
            self._name = value
        elif field == "error" and value.startswith("{"):
            return [*self._dispatch(), Event("error", value)]
        return []

    def _dispatch(self) -> list[Event]:
        found = [Event(self._name, "\n".join(self._data))] if self._data else []
        self._name, self._size = "", 0
        self._data.clear()
        return found
