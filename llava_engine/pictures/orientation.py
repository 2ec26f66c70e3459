"""How a picture is turned, read from its EXIF or XMP without trusting either.

Pillow's own reader copies whatever each of 65,535 tags points at, so that 700 kB take 500 GB; we look for one tag.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_TAG = 0x0112  # EXIF 2.3, table 4
_SHORT, _LONG = 3, 4  # TIFF 6.0, page 15
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def orientation(exif: bytes, xmp: bytes = b"") -> int:
    """How a picture is turned, 1 (upright) to 8; 1 where nothing that can be read says so.

    Args:
        exif: a TIFF header and directories, with or without `Exif\\0\\0` before.
        xmp: the XML; asked where EXIF says nothing.
    """
    turn = _from_exif(exif.removeprefix(b"Exif\0\0"))
    if turn is None and (match := _XMP.search(xmp)):
        turn = int(match[1])
    return turn if turn is not None and 1 <= turn <= 8 else 1


def _from_exif(data: bytes) -> int | None:
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    little = data[:2] == b"II"

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little" if little else "big")

    first = number(4, 4)
    for entry in range(number(first, 2)):
        at = first + 2 + 12 * entry
        if at + 12 > len(data):
            return None
        if number(at, 2) == _TAG:
            kind = number(at + 2, 2)
            return number(at + 8, {_SHORT: 2, _LONG: 4}[kind]) if kind in (_SHORT, _LONG) else None
    return None


def upright(image: Image.Image, turn: int) -> Image.Image:
    """The picture without its turn, and without notes that would make another reader turn it again."""
    from PIL import Image

    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    image = image.transpose(undo[turn]) if turn in undo else image
    image.info = {}
    return image
