"""A picture made square before a model's own preprocessing, in the three ways that the original's page offered.

What a model does with a square picture is the same for all of them: so this decides what it sees. Knows no model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL import Image

Way = Literal["crop", "pad", "resize"]
_MEAN = (122, 116, 104)  # CLIP's mean colour, as the original pads
LARGEST = 2048
"""Pixels of a side, three times what any of these models sees. A line of 65,000 pixels, padded, would be 13 GB."""


def squared(image: Image.Image, way: Way) -> Image.Image:
    """The middle of it, the whole of it between bars of the mean colour, or the whole of it squashed.

    No side is longer than `LARGEST`: what is, is made smaller.
    """
    from PIL import Image, ImageOps

    short, long = (min(side, LARGEST) for side in sorted(image.size))
    if way == "crop":
        return ImageOps.fit(image, (short, short))
    scale = long / max(image.size)
    across, down = (max(1, round(side * scale)) for side in image.size)
    # A filter's weights take 32 bytes a pixel of a side: 1 GB for a line of 30 million, which is averaged before.
    fewer = max(1, image.width // (2 * LARGEST)), max(1, image.height // (2 * LARGEST))
    image = image.reduce(fewer) if max(fewer) > 1 else image
    if way == "resize":
        return image.resize((short, short), Image.Resampling.BICUBIC)
    if scale < 1:
        image = image.resize((across, down), Image.Resampling.BICUBIC)
    whole = Image.new("RGB", (long, long), _MEAN)
    whole.paste(image, ((long - image.width) // 2, (long - image.height) // 2))
    return whole
