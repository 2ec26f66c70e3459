"""Anything that may be a picture -> RGB, safely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, eq=False)
class Picture:
    """An opened picture.

    Attributes:
        name: what to call it (file name, last part of the URL, "pasted picture").
        image: RGB, upright (EXIF applied), alpha over white; a large JPEG may be decoded at a reduced size.
        size: (width, height) of the original, upright, in pixels.
        sha256: hex digest of `data`; the identity of the picture everywhere.
        media_type: "image/png", "image/jpeg", …
        data: the original bytes (PNG-encoded for a PIL image).
    """

    name: str
    image: Image.Image
    size: tuple[int, int]
    sha256: str
    media_type: str
    data: bytes
