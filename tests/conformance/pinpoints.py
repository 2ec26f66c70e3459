"""The original's image_grid_pinpoints as the goldens write them, (width, height), turned to ours, (height, width)."""

from __future__ import annotations

import ast


def turned(text: str) -> tuple[tuple[int, int], ...]:
    """From "[(84, 168), …]"."""
    return tuple((height, width) for width, height in ast.literal_eval(text))
