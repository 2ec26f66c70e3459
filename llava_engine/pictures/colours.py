"""Any mode of Pillow -> RGB, block by block, so that a conversion never takes more than its result and a little.

Deep greys are scaled, transparency lies over white.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_BLOCK_PIXELS = 2**20  # in float64 8 MB, and as many again for each step


class UnknownColoursError(Exception):
    """A mode that has no way to RGB; its name is the argument."""


def to_rgb(image: Image.Image, factor: int = 1) -> Image.Image:
    """The picture in RGB.

    Args:
        image: loaded, any mode.
        factor: how many pixels on a side become one, by their mean.

    Raises:
        UnknownColoursError: the mode has no way to RGB.
    """
    from PIL import Image

    if image.mode == "RGB" and factor == 1 and not image.has_transparency_data:
        return image
    white = _white(image) if image.mode.startswith(("I", "F")) else 0.0
    width, height = image.size
    result = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    for left, top, right, bottom in _blocks(width, height, factor):
        block = image.crop((left, top, right, bottom))
        block = _grey(block, white).convert("RGB") if white else _block_to_rgb(block)
        result.paste(block.reduce(factor) if factor > 1 else block, (left // factor, top // factor))
    return result


def _blocks(width: int, height: int, factor: int) -> Iterator[tuple[int, int, int, int]]:
    across = min(width, _BLOCK_PIXELS) // factor * factor or factor
    down = max(_BLOCK_PIXELS // across, 1) // factor * factor or factor
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield left, top, min(left + across, width), min(top + down, height)


def _block_to_rgb(block: Image.Image) -> Image.Image:
    from PIL import Image

    try:
        if not block.has_transparency_data:
            return block.convert("RGB")
        layer = (block.convert("LA") if block.mode == "La" else block).convert("RGBA")
    except ValueError as error:
        raise UnknownColoursError(block.mode) from error
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _white(image: Image.Image) -> float:
    """The value that is white in a grey of 16 bits, 32 bits or floating point; never 0.

    Pillow's own conversion would clip at 255. Wider numbers do not say where white is: the smallest usual range that
    holds them.
    """
    if image.mode.startswith("I;16"):
        return 65535.0
    ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    highest = max(float(_values(image.crop(box)).max(initial=0.0)) for box in _blocks(*image.size, 1))
    return next((limit for limit in ranges if highest <= limit), highest)


def _grey(block: Image.Image, white: float) -> Image.Image:
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.clip(np.rint(_values(block) * (255.0 / white)), 0, 255).astype(np.uint8))


def _values(block: Image.Image):  # type: ignore[no-untyped-def]
    """(height, width) in float64, what is no number as 0."""
    import numpy as np

    return np.nan_to_num(np.asarray(block, dtype=np.float64), posinf=0.0, neginf=0.0)
