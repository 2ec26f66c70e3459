"""What the original makes of pictures, odd ones too: EXIF ignored, transparency dropped, June's "keep", a picture one
pixel high taken for channels, bands that were never turned into RGB.

In: a picture file, a tower's settings, a mode. Out: pixels as the original's, or its own ValueError or TypeError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llava_engine.pictures.processing import Preprocessing
from llava_engine.pictures.tiling import Size, best_resolution, fitted

Mode = Literal["square", "pad", "keep", "anyres"]


def opened(source: Path | BinaryIO, *, convert: bool = True) -> Image.Image:
    """A picture as the original opens it; unconverted, as its newest worker does, in the file's own bands."""
    with Image.open(source) as image:
        image.load()
        return image.convert("RGB") if convert else image.copy()


def pixels(image: Image.Image, tower: Preprocessing, mode: Mode, pinpoints: Sequence[Size] = ()) -> NDArray[np.float32]:
    """(3, H, W), or of "anyres" (N, 3, H, W).

    Args:
        image: from `opened`.
        tower: its preprocessor_config.json.
        mode: `image_aspect_ratio`.
        pinpoints: of "anyres", as (height, width).

    Raises:
        TypeError: "pad" can not colour one or two bands.
        ValueError: the picture is one pixel high, or "keep" makes it vanish.
    """
    if mode == "anyres":
        return np.stack([_processed(view, tower) for view in _views(image, tower, pinpoints)])
    if mode == "keep":
        longest, shortest = 448, 224  # whatever the tower's size is
        return _processed(image, tower, int(min(longest / (max(image.size) / min(image.size)), shortest)))
    return _processed(_squared(image, tower) if mode == "pad" else image, tower)


def patch_count(made: NDArray[np.float32]) -> int:
    """How many tokens June's data code reserves for such pixels: by patches of 14, whatever the tower's are."""
    height, width = made.shape[-2:]
    return int(height // 14) * int(width // 14)


def _processed(image: Image.Image, tower: Preprocessing, keep: int | None = None) -> NDArray[np.float32]:
    """transformers' CLIPImageProcessor of its day: the shorter side to `resize_to` and cut, or to `keep` and whole."""
    values = np.asarray(image.convert("RGB"))  # (H, W, 3)
    if values.shape[0] == 1:
        raise ValueError("a picture one pixel high is taken for one with one channel, and the mean has three")
    if values.shape[0] == 3:  # three rows are taken for three channels
        values = values.transpose(1, 2, 0)
    image = Image.fromarray(np.ascontiguousarray(values))
    short, shortest = keep if keep is not None else tower.resize_to, min(image.size)
    width, height = (short * side // shortest for side in image.size)
    image = image.resize((width, height), Image.Resampling(tower.resample))
    if keep is None:
        down, across = tower.size
        left, top = (width - across) // 2, (height - down) // 2
        image = image.crop((left, top, left + across, top + down))
    return tower.normalized(image)


def _squared(image: Image.Image, tower: Preprocessing) -> Image.Image:
    """On the mean colour, in the picture's own bands: a palette has no such colour, grey no room for three numbers."""
    side = max(image.size)
    if image.width == image.height:
        return image
    ground = Image.new(image.mode, (side, side), tuple(int(channel * 255) for channel in tower.mean))
    ground.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return ground


def _views(image: Image.Image, tower: Preprocessing, pinpoints: Sequence[Size]) -> Iterator[Image.Image]:
    """Resized in its own bands (Pillow takes the nearest pixel of a palette), and only then pasted onto RGB."""
    yield image.resize((tower.resize_to, tower.resize_to))
    size, side = (image.height, image.width), tower.size[0]
    down, across = best_resolution(size, pinpoints)
    height, width = fitted(size, (down, across))
    ground = Image.new("RGB", (across, down))
    ground.paste(image.resize((width, height)), ((across - width) // 2, (down - height) // 2))
    for top in range(0, down, side):
        for left in range(0, across, side):
            yield ground.crop((left, top, left + side, top + side))
