"""Pictures made square: what of them is seen, and that a line does not become a square of its length."""

from __future__ import annotations

import pytest
from PIL import Image

from llava_engine.pictures.squared import LARGEST, Way, squared

BLUE, MEAN = (0, 0, 255), (122, 116, 104)  # LLaVA pads with CLIP's mean: 0.48145466, 0.4578275, 0.40821073 of 255


@pytest.mark.parametrize(
    ("way", "size", "side", "corner"),
    [
        ("pad", (65_000, 1), LARGEST, MEAN),
        ("pad", (1, 65_000), LARGEST, MEAN),
        ("pad", (5000, 3000), LARGEST, MEAN),
        ("pad", (300, 200), 300, MEAN),
        ("crop", (65_000, 1), 1, BLUE),
        ("crop", (5000, 3000), LARGEST, BLUE),
        ("crop", (300, 200), 200, BLUE),
        ("resize", (1, 65_000), 1, BLUE),
        ("resize", (5000, 3000), LARGEST, BLUE),
        ("resize", (300, 200), 200, BLUE),
    ],
)
def test_square_and_no_larger_than_any_model_sees(
    way: Way, size: tuple[int, int], side: int, corner: tuple[int, int, int]
) -> None:
    made = squared(Image.new("RGB", size, BLUE), way)
    assert made.size == (side, side)
    assert (made.getpixel((0, 0)), made.getpixel(((side - 1) // 2, (side - 1) // 2))) == (corner, BLUE)
