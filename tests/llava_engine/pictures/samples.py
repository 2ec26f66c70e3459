"""Pictures that the tests make, and what an error must be like."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from llava_engine.errors import PictureError
from llava_engine.pictures.opening import open_picture

FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def halves() -> Image.Image:
    """Left half red, right half blue, 40 by 20."""
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (20, 0, 40, 20))
    return image


def close(pixel: object, colour: tuple[int, int, int], within: int = 6) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(ours - theirs) <= within for ours, theirs in zip(pixel, colour, strict=True))


def png(header: bytes, raw: bytes) -> bytes:
    """A PNG of these two chunks."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", raw) + chunk(b"IEND", b"")


def refused(source: object, **options: object) -> PictureError:
    with pytest.raises(PictureError) as caught:
        open_picture(source, **options)  # type: ignore[arg-type]
    error = caught.value
    assert error.cause
    assert error.remedy
    assert "\n" not in error.cause + error.remedy
    return error
