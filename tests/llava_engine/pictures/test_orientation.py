"""However a camera was held, its picture is upright."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from llava_engine.pictures.opening import open_picture
from tests.llava_engine.pictures.samples import close, encoded, halves


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_turned_picture_is_set_upright(kind: str, turn: int) -> None:
    """The stored pixels are what a camera held in that way writes; EXIF 2.3 says where row 0 and column 0 are."""
    upright = Image.new("RGB", (48, 32), "white")
    ImageDraw.Draw(upright).rectangle((0, 0, 15, 15), fill="red")  # top left
    ImageDraw.Draw(upright).rectangle((32, 0, 47, 15), fill="blue")  # top right
    pixels = np.asarray(upright)
    stored = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels),
        7: np.rot90(pixels, 2).transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }[turn]
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    picture = open_picture(encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options))
    assert picture.size == picture.image.size == (48, 32)
    assert close(picture.image.getpixel((5, 5)), (255, 0, 0))
    assert close(picture.image.getpixel((42, 5)), (0, 0, 255))
    assert close(picture.image.getpixel((5, 28)), (255, 255, 255))
    assert not picture.image.getexif()  # or the next reader would turn it again


def test_an_image_from_pil_is_set_upright_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encoded(halves(), "JPEG", exif=exif)))
    assert open_picture(image).size == (20, 40)


def test_broken_exif_is_no_reason_to_refuse() -> None:
    assert open_picture(encoded(halves(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")).size == (40, 20)
