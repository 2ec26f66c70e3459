"""Grounds of two tones: gradients, stripes, squares, paper, speckles. In: a scene. Out: its ground, without items.

How the tones are laid out is a mask; a few of each kind are made once, and cut or stretched to the picture's size.
"""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.embedded.picture_world.scenes import Scene, Texture

_SIDE = 512  # of a mask that is cut from
_SORTS = 6  # masks of each texture
_STRETCHED = ("down", "across", "round")


def textured(scene: Scene, width: int, height: int, rng: random.Random) -> Image.Image:
    """The ground, `width` by `height` pixels, RGB; `rng` draws which mask and what part of it."""
    if scene.ground_end is None:
        return Image.new("RGB", (width, height), scene.ground)
    sort = rng.randrange(_SORTS)
    if scene.texture in _STRETCHED:
        mask = _stretched(scene.texture, sort, width, height)
    else:
        x, y = rng.randrange(max(1, _SIDE - width)), rng.randrange(max(1, _SIDE - height))
        mask = _mask(scene.texture, sort).crop((x, y, x + width, y + height))
    one = Image.new("RGB", (width, height), scene.ground)
    one.paste(scene.ground_end, (0, 0, width, height), mask)
    return one


@lru_cache(maxsize=400)
def _stretched(texture: Texture, sort: int, width: int, height: int) -> Image.Image:
    return _mask(texture, sort).resize((width, height), Image.Resampling.BILINEAR)


@lru_cache(maxsize=64)
def _mask(texture: Texture, sort: int) -> Image.Image:
    """(L) 0 where the ground's first tone is, 255 where its second."""
    lots = np.random.default_rng(sort)
    line = np.linspace(0, 1, _SIDE, dtype=np.float32)
    down, across = np.meshgrid(line, line, indexing="ij")
    if texture == "down":
        return _image(down if sort % 2 else 1 - down)
    if texture == "across":
        return _image(across if sort % 3 else (across + down) / 2)
    if texture == "round":
        x, y = lots.uniform(0.3, 0.7, 2)
        return _image(np.hypot(across - x, down - y) / 0.8)
    if texture == "stripes":
        along = (across, down, across + down)[sort % 3]
        return _image((along * lots.integers(8, 40)).astype(int) % 2)
    if texture == "squares":
        many = lots.integers(8, 30)
        return _image(((across * many).astype(int) + (down * many).astype(int)) % 2)
    grain = lots.random((_SIDE, _SIDE), dtype=np.float32)
    if texture == "speckles":
        return _image(grain < 0.06).filter(ImageFilter.MaxFilter(3))
    soft = np.asarray(_image(grain).filter(ImageFilter.GaussianBlur(1 + 3 * (sort % 3))), np.float32)
    return _image((soft - soft.min()) / (soft.max() - soft.min()))


def _image(shares: NDArray[np.generic]) -> Image.Image:
    return Image.fromarray((np.clip(shares.astype(np.float32), 0, 1) * 255).astype(np.uint8))
