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
        ("pad", (3_000_000, 3), LARGEST, MEAN),
        ("pad", (300, 200), 300, MEAN),
        ("crop", (65_000, 1), 1, BLUE),
        ("crop", (5000, 3000), LARGEST, BLUE),
        ("crop", (300, 200), 200, BLUE),
        ("resize", (1, 65_000), 1, BLUE),
        ("resize", (3_000_000, 3), 3, BLUE),
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


def test_what_is_made_smaller_is_still_where_it_was() -> None:
    picture = Image.new("RGB", (10_000, 5_000), BLUE)
    picture.paste("red", (0, 0, 5_000, 5_000))
    made = squared(picture, "pad")
    across = [made.getpixel((x, LARGEST // 2)) for x in (0, LARGEST // 2 - 20, LARGEST // 2 + 20, LARGEST - 1)]
    down = [made.getpixel((LARGEST - 1, y)) for y in (LARGEST // 4 - 2, LARGEST // 4 + 2, LARGEST * 3 // 4 - 2)]
    assert across == [(255, 0, 0), (255, 0, 0), BLUE, BLUE]
    assert down == [MEAN, BLUE, BLUE]
