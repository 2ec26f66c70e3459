"""A picture as coloured half cells: two pixels a cell, right in every terminal that has colours.

In: a small RGB picture and a box in cells. Out: the size that it takes, and strips for Textual. Asks the terminal
nothing, so that a picture looks the same in a test, in tmux, in a browser and over ssh.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

if TYPE_CHECKING:
    from PIL import Image

UPPER_HALF = "▀"
BOX = 4  # PIL.Image.Resampling.BOX: no halos around drawn edges; the number keeps PIL out of the first frame


def fit(size: tuple[int, int], columns: int, rows: int) -> tuple[int, int]:
    """The largest (columns, rows) in a box of cells that keep a picture's shape; a cell is twice as high as wide."""
    width, height = max(1, size[0]), max(1, size[1])
    scale = min(columns / width, 2 * rows / height)
    return (
        max(1, min(columns, round(width * scale))),
        max(1, min(rows, round(height * scale / 2))),
    )


def half_cells(image: Image.Image, columns: int, rows: int) -> list[Strip]:
    """`rows` strips of `columns` cells that show the RGB `image`, stretched to exactly this size."""
    small = image.resize((columns, rows * 2), BOX, reducing_gap=3.0)
    data = small.tobytes()
    pixels = [Color.from_rgb(*data[start : start + 3]) for start in range(0, len(data), 3)]
    strips = []
    for row in range(rows):
        upper = pixels[2 * row * columns : (2 * row + 1) * columns]
        lower = pixels[(2 * row + 1) * columns : (2 * row + 2) * columns]
        segments = [
            Segment(UPPER_HALF * len(list(run)), Style(color=above, bgcolor=below))
            for (above, below), run in groupby(zip(upper, lower, strict=True))
        ]
        strips.append(Strip(segments, columns))
    return strips
