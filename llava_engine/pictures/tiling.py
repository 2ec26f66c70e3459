"""The geometry of LLaVA 1.6's tiles ("anyres"): which resolution a picture is fitted into, and how large it is there.

Numbers only: a picture's (height, width) in, a (height, width) out. Knows no picture and no model; what is made of the
numbers is in processing.py (pixels) and model/tiles.py (features). The order of the floating point operations is the
original's, for another order rounds otherwise at the edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Size = tuple[int, int]  # (height, width)

MOST_TILES = 64  # in one picture; the largest released grid has 36


def best_resolution(size: Size, pinpoints: Sequence[Size]) -> Size:
    """The resolution that keeps most of a picture's pixels; among equals the one that wastes least, then the first.

    Args:
        size: (height, width) of the picture.
        pinpoints: the (height, width) to choose from; at least one.
    """
    height, width = size

    def merit(pinpoint: Size) -> tuple[int, int]:
        scale = min(pinpoint[1] / width, pinpoint[0] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - pinpoint[0] * pinpoint[1]

    return max(pinpoints, key=merit)


def fitted(size: Size, resolution: Size) -> Size:
    """(height, width) of a picture that fills a resolution as far as its shape allows."""
    height, width = size
    across, down = resolution[1] / width, resolution[0] / height
    if across < down:
        return min(math.ceil(height * across), resolution[0]), resolution[1]
    return resolution[0], min(math.ceil(width * down), resolution[1])


def grid(resolution: Size, side: int) -> tuple[int, int]:
    """(rows, columns) of square tiles in a resolution."""
    return resolution[0] // side, resolution[1] // side


def check_pinpoints(pinpoints: Sequence[Size], tile: Size) -> None:
    """Raise `ValueError` unless tiles are square and every resolution is made of whole ones, and not of too many."""
    side = tile[0]
    if tile[1] != side or side < 1:
        raise ValueError(f"tiles must be square, not {side} by {tile[1]}")
    if not pinpoints:
        raise ValueError("image_grid_pinpoints is empty")
    for height, width in pinpoints:
        if min(height, width) < 1 or height % side or width % side:
            raise ValueError(f"image_grid_pinpoints has {height} by {width}, which is not made of tiles of {side}")
        if height // side * (width // side) > MOST_TILES:
            raise ValueError(f"image_grid_pinpoints has {height} by {width}: more than {MOST_TILES} tiles of {side}")
