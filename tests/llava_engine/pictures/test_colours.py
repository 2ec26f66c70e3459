"""Every mode becomes RGB: transparency over white, deep greys scaled."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from llava_engine.pictures.opening import open_picture
from tests.llava_engine.pictures.samples import close, encoded, png


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "RGBa"])
def test_transparency_lies_over_white(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.putpixel((1, 1), (0, 0, 0, 255))
    image.putpixel((2, 2), (0, 0, 0, 128))
    image = (image.convert("LA") if mode in ("LA", "La") else image).convert(mode)
    opened = open_picture(image).image
    assert close(opened.getpixel((0, 0)), (255, 255, 255), 0)
    assert close(opened.getpixel((1, 1)), (0, 0, 0), 0)
    assert close(opened.getpixel((2, 2)), (127, 127, 127), 2)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_a_files_transparency_lies_over_white(kind: str) -> None:
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    image.paste((0, 160, 0, 255), (0, 0, 4, 8))
    opened = open_picture(encoded(image, kind)).image
    assert close(opened.getpixel((7, 4)), (255, 255, 255))
    assert close(opened.getpixel((1, 4)), (0, 160, 0))


def test_transparent_entries_of_a_palette_and_transparent_colours() -> None:
    palette = Image.new("P", (4, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([0, 1, 2, 1])
    expected = [(255, 0, 0), (255, 255, 255), (0, 0, 255), (255, 255, 255)]
    for transparency in (1, b"\xff\x00\xff"):
        opened = open_picture(encoded(palette, transparency=transparency)).image
        assert [opened.getpixel((x, 0)) for x in range(4)] == expected
    opened = open_picture(encoded(palette.convert("RGB"), transparency=(0, 255, 0))).image
    assert [opened.getpixel((x, 0)) for x in range(4)] == expected
    with_alpha = Image.new("PA", (2, 1))
    with_alpha.putpalette([255, 0, 0, 0, 255, 0])
    with_alpha.putpixel((0, 0), (1, 255))
    opened = open_picture(with_alpha).image
    assert [opened.getpixel((x, 0)) for x in range(2)] == [(0, 255, 0), (255, 255, 255)]
    plain = open_picture(encoded(palette)).image
    assert plain.getpixel((1, 0)) == (0, 255, 0)
    grey = Image.new("L", (2, 1))
    grey.putdata([0, 90])
    assert open_picture(encoded(grey, transparency=0)).image.getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_is_read_as_ink() -> None:
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        assert close(open_picture(encoded(ink, kind)).image.getpixel((8, 8)), (255, 0, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind: str) -> None:
    values = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    opened = open_picture(encoded(Image.fromarray(values), kind)).image
    assert [opened.getpixel((x, 0)) for x in range(4)] == [(v, v, v) for v in (0, 1, 128, 255)]


def test_sixteen_bit_colours_are_scaled() -> None:
    """A 16-bit RGB PNG, written by hand because Pillow writes none: one pixel of 0xFFFF, 0x8080, 0."""
    raw = zlib.compress(b"\x00" + struct.pack(">HHH", 0xFFFF, 0x8080, 0))
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    assert open_picture(png(header, raw)).image.getpixel((0, 0)) == (255, 128, 0)


def test_floating_point_and_wide_integers() -> None:
    for values in (
        np.array([[0, 0.5, 1]], dtype=np.float32),
        np.array([[0, 127.5, 255]], dtype=np.float32),
        np.array([[0, 32768, 65535]], dtype=np.int32),
        np.array([[-5, 500_000, 1_000_000]], dtype=np.int32),
    ):
        opened = open_picture(encoded(Image.fromarray(values), "TIFF")).image
        assert [opened.getpixel((x, 0))[0] for x in range(3)] in ([0, 127, 255], [0, 128, 255])  # type: ignore[index]
    odd = np.array([[np.nan, np.inf, 1]], dtype=np.float32)
    assert open_picture(Image.fromarray(odd)).image.getpixel((0, 0)) == (0, 0, 0)


def test_one_bit_and_one_pixel() -> None:
    bits = Image.new("1", (3, 1))
    bits.putdata([0, 255, 0])
    for kind in ("PNG", "TIFF", "BMP"):
        picture = open_picture(encoded(bits, kind))
        assert [picture.image.getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (255, 255, 255), (0, 0, 0)]
    for size in ((1, 1), (1, 50), (50, 1)):
        assert open_picture(encoded(Image.new("RGB", size, "red"))).image.size == size
