"""The tray of pictures under the prompt: numbered, opened off the caller's thread, sent only with a message.

A source (path, URL, bytes) goes in, an `Attachment` with a small copy to show comes out, or a `LlavaError` that says
why not. It never blocks its caller and knows no screen. What counts as a source in pasted text is `sources.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llava_engine.errors import LlavaError
from llava_engine.pictures.opening import Picture

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_SIDE = 800
"""The longer side of a small copy at most, in pixels: enough for a full-screen preview in half-cells."""

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
    """A source that could not be opened: its number, and why."""

    number: int
    error: LlavaError


def thumbnail(picture: Picture, side: int = THUMBNAIL_SIDE) -> Image.Image:
    """A copy of the picture whose longer side is at most `side` pixels. Tens of ms for a photo: not on a UI thread."""
    raise NotImplementedError


class AttachmentTray:
    """Pictures waiting for the next message. All methods are for one thread (the UI's) and return at once.

    Args:
        open_source: source -> Picture; raises PictureError. Runs in a background thread.
        keep: called with each opened picture in that thread (the store keeps its bytes); may raise StorageError.
    """

    def __init__(self, open_source: Callable[[Source], Picture], keep: Callable[[Picture], None]) -> None:
        raise NotImplementedError

    def add(self, source: Source) -> int:
        """Begin to open a source; its number."""
        raise NotImplementedError

    def remove(self, number: int) -> None:
        """Take one out, open or not. An unknown number is no error."""
        raise NotImplementedError

    def clear(self) -> None:
        """Take all out and begin again with 1."""
        raise NotImplementedError

    def poll(self) -> list[Attachment | FailedAttachment]:
        """What came of the sources since the last call, by number; failed ones have left the tray."""
        raise NotImplementedError

    @property
    def ready(self) -> tuple[Attachment, ...]:
        """Those that are open, by number."""
        raise NotImplementedError

    @property
    def opening(self) -> tuple[int, ...]:
        """Numbers of those that are not open yet."""
        raise NotImplementedError
