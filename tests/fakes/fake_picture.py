"""Small pictures for tests, made with plain Pillow."""

from __future__ import annotations

import hashlib
import io

from PIL import Image

from llava_engine.pictures.opening import Picture


def png_bytes(colour: str = "red", size: tuple[int, int] = (8, 6)) -> bytes:
    """A PNG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def fake_picture(name: str = "cat.png", colour: str = "red", size: tuple[int, int] = (8, 6)) -> Picture:
    """An opened picture of one colour."""
    data = png_bytes(colour, size)
    return Picture(
        name=name,
        decode=lambda: Image.new("RGB", size, colour),
        size=size,
        sha256=hashlib.sha256(data).hexdigest(),
        media_type="image/png",
        data=data,
    )
