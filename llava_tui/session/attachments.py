"""The tray of pictures under the prompt: numbered, opened off the caller's thread, sent only with a message.

A source (path, URL, bytes) goes in, an `Attachment` with a small copy to show comes out, or the error that says why
not. It never blocks its caller and knows no screen. What counts as a source in pasted text is `pasted_pictures.py`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llava_engine.pictures.opening import Picture

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_SIDE = 800
"""The longer side of a small copy at most, in pixels: enough for a full-screen preview in half-cells."""

AT_ONCE = 2
"""How many sources are opened at the same time: a folder of photos pasted at once must not fill the memory."""

Source = str | Path | bytes


@dataclass(frozen=True, eq=False)
class Attachment:
    """A picture in the tray.

    Attributes:
        number: 1, 2, 3, … as its chip says; not given again within one message.
        picture: the opened picture.
        thumbnail: RGB, at most 800 px on its longer side, for showing.
    """

    number: int
    picture: Picture
    thumbnail: Image.Image


@dataclass(frozen=True)
class FailedAttachment:
    """A source that could not be opened: its number, and why. Anything but a LlavaError is a bug."""

    number: int
    error: Exception


def thumbnail(picture: Picture, side: int = THUMBNAIL_SIDE) -> Image.Image:
    """A copy of the picture whose longer side is at most `side` pixels. Tens of ms for a photo: not on a UI thread."""
    width, height = picture.image.size
    scale = min(1.0, side / max(width, height))
    # reducing_gap: a cheap reduction by whole pixels first, then the good filter on what is left.
    return picture.image.resize((max(1, round(width * scale)), max(1, round(height * scale))), reducing_gap=2.0)


class AttachmentTray:
    """Pictures waiting for the next message. All methods are for one thread (the UI's) and return at once.

    Args:
        open_source: source -> Picture; raises PictureError. Runs in a background thread.
        keep: called with each opened picture in that thread (the store keeps its bytes).
    """

    def __init__(self, open_source: Callable[[Source], Picture], keep: Callable[[Picture], object]) -> None:
        self._open_source = open_source
        self._keep = keep
        self._entries: dict[int, _Entry] = {}
        self._given = 0
        self._arrived: deque[_Entry] = deque()
        self._slots = threading.Semaphore(AT_ONCE)

    def add(self, source: Source, *, at_once: bool = True) -> int:
        """Begin to open a source, or keep it until `open_all`; its number."""
        self._given += 1
        entry = _Entry(self._given, source)
        self._entries[entry.number] = entry
        if at_once:
            self._begin(entry)
        return entry.number

    def open_all(self) -> None:
        """Begin to open those that were kept."""
        for entry in self._entries.values():
            if not entry.begun:
                self._begin(entry)

    def remove(self, number: int) -> None:
        """Take one out, open or not. An unknown number is no error."""
        self._entries.pop(number, None)

    def clear(self) -> None:
        """Take all out and begin again with 1."""
        self._entries.clear()
        self._given = 0

    def poll(self) -> list[Attachment | FailedAttachment]:
        """What came of the sources since the last call, by number; failed ones have left the tray."""
        results: list[Attachment | FailedAttachment] = []
        while self._arrived:
            entry = self._arrived.popleft()
            if self._entries.get(entry.number) is not entry or entry.result is None:
                continue  # taken out meanwhile
            results.append(entry.result)
            if isinstance(entry.result, FailedAttachment):
                del self._entries[entry.number]
            else:
                entry.attachment = entry.result
        return sorted(results, key=lambda result: result.number)

    @property
    def ready(self) -> tuple[Attachment, ...]:
        """Those that are open, by number."""
        return tuple(entry.attachment for entry in self._entries.values() if entry.attachment is not None)

    @property
    def opening(self) -> tuple[int, ...]:
        """Numbers of those that are being opened."""
        return tuple(number for number, entry in self._entries.items() if entry.begun and entry.attachment is None)

    @property
    def kept(self) -> tuple[int, ...]:
        """Numbers of those that nobody has looked at yet."""
        return tuple(number for number, entry in self._entries.items() if not entry.begun)

    def __len__(self) -> int:
        return len(self._entries)

    def _begin(self, entry: _Entry) -> None:
        entry.begun = True
        # Daemon: a slow download must not keep a closed app alive.
        threading.Thread(target=self._open, args=(entry,), name="llava-picture", daemon=True).start()

    def _open(self, entry: _Entry) -> None:
        with self._slots:
            if self._entries.get(entry.number) is not entry:
                return  # taken out before its turn came
            try:
                picture = self._open_source(entry.source)
                self._keep(picture)
                entry.result = Attachment(entry.number, picture, thumbnail(picture))
            except Exception as error:
                entry.result = FailedAttachment(entry.number, error)
        self._arrived.append(entry)


class _Entry:
    """A place in the tray: `result` is the opening thread's to set, `attachment` what the tray has handed out."""

    def __init__(self, number: int, source: Source) -> None:
        self.number = number
        self.source = source
        self.begun = False
        self.result: Attachment | FailedAttachment | None = None
        self.attachment: Attachment | None = None
