"""Pictures that the original reads wrongly, and what it and a person see of them.

Turned by EXIF, transparent, deeper than 8 bits, one or three pixels high: there our engine differs on purpose, and what
it makes of a golden's picture can be compared only if it is given what the original saw.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from llava_engine.pictures.opening import Picture, open_picture
from tests.conformance.fixtures import FIXTURES

# Fixtures may have large JPEGs, which the engine would decode at half their size: these are read in full.
IN_FULL = 1_000_000


def original_errs(path: Path) -> bool:
    """Turned by EXIF, transparent, deeper than 8 bits, or taken for channels first."""
    with Image.open(path) as image:
        turned_round = image.getexif().get(0x0112, 1) != 1
        deep = image.mode.startswith(("I", "F"))
        return turned_round or deep or image.has_transparency_data or image.height in (1, 3)


def as_a_person_sees_it(path: Path) -> Image.Image:
    """Upright, on white, 16 bits scaled to 8."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):  # 16 bits
        return Image.fromarray(np.rint(np.asarray(image, np.float64) * 255 / 65535).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


@cache
def picture(name: str) -> Picture:
    """One of the fixtures', as the engine opens it."""
    return open_picture(FIXTURES / "images" / name, draft_to=IN_FULL)


@cache
def as_the_original_saw_it(name: str) -> Picture:
    """The same, or where the original errs, an RGB picture of what it made of the file."""
    path = FIXTURES / "images" / name
    if not original_errs(path):
        return picture(name)
    with Image.open(path) as image:
        return open_picture(Image.fromarray(np.asarray(image.convert("RGB"))), name=name)


def plain_pictures() -> list[Picture]:
    """All that everybody reads alike, the smallest first."""
    files = sorted(file for file in (FIXTURES / "images").iterdir() if file.suffix != ".json")
    return sorted(
        (picture(file.name) for file in files if not original_errs(file)), key=lambda each: (each.size, each.sha256)
    )
