"""The features of a picture's views -> the tokens that the language model reads of it (LLaVA 1.6), and how many.

In: projected features of the whole picture and of its tiles, and the picture's size in pixels. Out: one row of tokens.
Knows no pixels, no tower and no text; the geometry is pictures/tiling.py's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from llava_engine.model.config import LlavaConfig, TilesConfig
from llava_engine.pictures.tiling import Size, best_resolution, grid


def picture_tokens(config: LlavaConfig, size: Size) -> int:
    """How many tokens a picture of this (height, width) costs, without looking at it."""
    if config.tiles is None:
        return config.picture_tokens
    rows, columns = grid(best_resolution(size, config.tiles.pinpoints), config.vision.image_size)
    if config.tiles.merge == "flat":
        return (1 + rows * columns) * config.picture_tokens
    down, across = rows * config.vision.grid, columns * config.vision.grid
    if config.tiles.merge == "spatial_unpad":
        top, left = _padding(size, (down, across), config.tiles)
        down, across = down - 2 * top, across - 2 * left + 1  # and a newline
    return config.picture_tokens + down * across


def merge(features: Tensor, size: Size, config: LlavaConfig, newline: Tensor | None) -> Tensor:
    """String the features of one picture's views together, the whole picture's first.

    Args:
        features: (1 + tiles, picture_tokens, hidden_size), the tiles row by row.
        size: (height, width) of the picture in pixels, before it was fitted.
        config: with `tiles`.
        newline: (hidden_size,) what ends a row of "spatial_unpad".

    Returns:
        (T, hidden_size); T is what `picture_tokens` says.
    """
    assert config.tiles is not None
    if config.tiles.merge == "flat":
        return features.flatten(0, 1)
    rows, columns = grid(best_resolution(size, config.tiles.pinpoints), config.vision.image_size)
    side, whole, tiles = config.vision.grid, features[0], features[1:]
    tiles = tiles.view(rows, columns, side, side, -1).transpose(1, 2)  # (rows, side, columns, side, hidden)
    plane = tiles.flatten(2, 3).flatten(0, 1)  # (down, across, hidden)
    if config.tiles.merge == "spatial_unpad":
        assert newline is not None
        down, across = plane.shape[:2]
        top, left = _padding(size, (down, across), config.tiles)
        plane = plane[top : down - top, left : across - left]
        plane = torch.cat([plane, newline.to(plane.dtype).expand(len(plane), 1, -1)], dim=1)
    return torch.cat([whole, plane.flatten(0, 1)])


def _padding(size: Size, plane: tuple[int, int], tiles: TilesConfig) -> tuple[int, int]:
    """How many rows of patches are padding above (and below), and how many columns left (and right)."""
    (height, width), (down, across) = size, plane
    if width / height > across / down:
        filled = height * (across / width)
        return (down - int(round(filled, 7) if tiles.rounded else filled)) // 2, 0
    filled = width * (down / height)
    return 0, (across - int(round(filled, 7) if tiles.rounded else filled)) // 2
