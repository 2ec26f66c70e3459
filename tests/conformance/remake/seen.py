"""New pictures, and the pixels that the original makes of them, by transformers' image processor and Pillow.

In: nothing but a seed and a tower's preprocessor_config.json. Owes nothing to our engine or its parity room.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

Pixels = NDArray[np.float32]
Size = tuple[int, int]
"""Width and height."""


def draw(file: Path, size: Size, mode: str, seed: int, **how: Any) -> None:
    """A picture of a few coloured shapes over a slope of colour, so that every patch differs from the next."""
    source = random.Random(seed)
    width, height = size
    down, across = np.mgrid[0:height, 0:width]
    first, second = ([source.randrange(256) for _ in range(3)] for _ in range(2))
    slope = (across / max(width - 1, 1))[..., None], (down / max(height - 1, 1))[..., None]
    ground = np.array(first) * (1 - slope[0]) + np.array(second) * slope[1]
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(5):
        left, top = source.randrange(width), source.randrange(height)
        box = (left, top, left + source.randrange(1, width + 1), top + source.randrange(1, height + 1))
        colour = (source.randrange(256), source.randrange(256), source.randrange(256))
        (pen.ellipse if source.random() < 0.5 else pen.rectangle)(box, fill=colour)
    if "A" in mode:
        alpha = Image.fromarray(np.where((across + down) % 3 == 0, 90, 255).astype(np.uint8))
        image = image.convert("RGBA")
        image.putalpha(alpha)
    if mode == "I;16":
        grey = np.asarray(image.convert("L")).astype(np.uint16)
        Image.fromarray(grey * 200 + np.uint16(seed % 57)).save(file, **how)
        return
    image.convert(mode).save(file, **how)


PLAIN = (((131, 97), "png"), ((57, 203), "jpg"), ((400, 40), "png"), ((33, 33), "png"), ((300, 210), "webp"))
_ODD: tuple[tuple[Size, str, str, dict[str, Any]], ...] = (
    ((77, 50), "L", "png", {}),
    ((64, 90), "P", "png", {}),
    ((90, 70), "RGBA", "png", {}),
    ((50, 60), "LA", "png", {}),
    ((120, 81), "CMYK", "jpg", {}),
    ((45, 45), "1", "png", {}),
    ((100, 60), "RGB", "jpg", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"}),
    ((1, 40), "RGB", "png", {}),
    ((40, 1), "RGB", "png", {}),
    ((70, 70), "P", "gif", {}),
    ((66, 44), "I;16", "png", {}),
    ((1, 1), "RGB", "png", {}),
    ((600, 10), "RGB", "png", {}),
    ((9, 540), "L", "png", {}),
    ((62, 62), "RGBA", "webp", {"lossless": True}),
)
_BANDS = 3


def is_read(file: Path, mode: str) -> bool:
    """Whether the original could read a picture: one pixel high is one channel to it, three pixels are three."""
    with Image.open(file) as image:
        return image.height not in (1, 3) or (mode != "square" and image.width not in (1, 3))


def draw_all(folder: Path, name: Callable[[], str], seed: int) -> tuple[list[str], list[str]]:
    """New pictures and their lines in images.json: the names of the plain ones, and of the odd ones."""
    known = json.loads((folder / "images.json").read_text("utf-8"))
    plain, odd = [], []
    for place, (size, suffix) in enumerate(PLAIN):
        plain.append(f"{name()}.{suffix}")
        how = {"lossless": True} if suffix == "webp" else {}
        draw(folder / plain[-1], size, "RGB", seed + place, **how)
        known[plain[-1]] = {"size": list(size), "mode": "RGB", "special": True}
    for place, (size, mode, suffix, how) in enumerate(_ODD):
        odd.append(f"{name()}.{suffix}")
        draw(folder / odd[-1], size, mode, seed + 100 + place, **how)
        known[odd[-1]] = {"size": list(size), "mode": mode, "special": True}
    (folder / "images.json").write_text(json.dumps(known, indent=1), "utf-8")
    return plain, odd


def golden(
    out: Path, towers: Mapping[str, Mapping[str, Any]], pictures: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, Pixels]]:
    """Lines and arrays of a pixel golden: every picture by every tower, given by path with its settings."""
    lines, arrays = [], {}
    for tower, settings in towers.items():
        side = _crop(settings)[0]
        grid = [(side, 2 * side), (2 * side, side), (2 * side, 2 * side), (3 * side, side), (side, 4 * side)]
        for picture in pictures:
            image = Image.open(out / "images" / picture)
            for mode in ("square", "pad", "keep", "anyres"):
                key = f"{Path(tower).name}|{mode}|{picture}"
                line: dict[str, Any] = {"key": key, "preprocessor": tower, "mode": mode, "image": picture}
                made = _line(line, image.convert("RGB"), settings, grid)
                lines.append(line)
                if made is not None:
                    arrays[key] = made
                if mode == "keep":  # June's, who always converts
                    continue
                bare = line | {"key": key.replace(mode, f"{mode}_noconvert", 1), "mode": f"{mode}_noconvert"}
                bare = {key: bare[key] for key in ("key", "preprocessor", "mode", "image")}
                other = _line(bare, image, settings, grid)
                lines.append(bare)
                if other is not None and made is not None and np.array_equal(other, made):
                    bare["identical_to"] = key
                elif other is not None:
                    arrays[bare["key"]] = other
    return lines, arrays


def _line(line: dict[str, Any], image: Image.Image, settings: Mapping[str, Any], grid: Sequence[Size]) -> Pixels | None:
    """Pixels, and what a line says of them; or the error that it says."""
    mode, side = line["mode"].removesuffix("_noconvert"), _crop(settings)[0]
    try:
        made = pixels(image, mode, settings, grid)
    except (TypeError, ValueError) as error:
        line["error"] = type(error).__name__
        return None
    line |= {"shape": list(made.shape), "sum": float(made.astype(np.float64).sum())}
    if mode == "anyres":
        best = best_of(image.size, grid)
        line |= {"grid_pinpoints": str(grid), "image_size": list(image.size)}
        line |= {"best_resolution": list(best), "grid_shape": [best[0] // side, best[1] // side]}
    else:
        line |= {"token_len_14": (made.shape[1] // 14) * (made.shape[2] // 14)}
    return made


def selections(seed: int) -> list[dict[str, Any]]:
    """Which frame pictures of any size get, out of grids of any kind."""
    source = random.Random(seed)
    made = []
    for _ in range(60):
        unit = source.choice([14, 60, 70, 224, 384])
        grid = list({(unit * source.randint(1, 4), unit * source.randint(1, 4)) for _ in range(6)})
        size = (source.randint(1, 3000), source.randint(1, 3000))
        made.append({"grid": str(grid), "size": list(size), "best": list(best_of(size, grid))})
    return made


def pixels(image: Image.Image, mode: str, settings: Mapping[str, Any], grid: Sequence[Size] = ()) -> Pixels:
    """A picture as the original shows it: (3, H, W), or in mode "anyres" (N, 3, H, W), the whole first.

    Raises:
        TypeError, ValueError: Pillow's, where a picture that was not converted has no such colour; and the original's
            of a picture one pixel high.
    """
    if mode != "anyres":
        image = _squared(image, settings) if mode == "pad" else image
        if image.height == 1:
            raise ValueError("taken for a picture with one channel")
        if mode == "keep":
            short = int(min(448 / (max(image.size) / min(image.size)), 224))
            settings = {**settings, "do_center_crop": False, "size": {"shortest_edge": short}}
        return processed(image, settings)
    side = shortest(settings)
    views = [image.resize((side, side))]
    best = best_of(image.size, grid)
    across, down = best[0] / image.width, best[1] / image.height
    if across < down:
        inner = best[0], min(math.ceil(image.height * across), best[1])
    else:
        inner = min(math.ceil(image.width * down), best[0]), best[1]
    frame = Image.new("RGB", best, (0, 0, 0))
    frame.paste(image.resize(inner), ((best[0] - inner[0]) // 2, (best[1] - inner[1]) // 2))
    tile = _crop(settings)[0]
    for top in range(0, best[1], tile):
        for left in range(0, best[0], tile):
            views.append(frame.crop((left, top, left + tile, top + tile)))
    return np.stack([processed(view, settings) for view in views])


def best_of(size: Size, grid: Sequence[Size]) -> Size:
    """The frame in which most of a picture's pixels are left, and of those the one with least room left over."""

    def merit(frame: Size) -> tuple[int, int]:
        scale = min(frame[0] / size[0], frame[1] / size[1])
        kept = min(int(size[0] * scale) * int(size[1] * scale), size[0] * size[1])
        return kept, kept - frame[0] * frame[1]

    return max(grid, key=merit)  # the first of equals


def processed(image: Image.Image, settings: Mapping[str, Any]) -> Pixels:
    """By transformers."""
    known = {key: value for key, value in settings.items() if not key.endswith(("_type", "_extractor"))}
    made = CLIPImageProcessorPil(**known)(image.convert("RGB"), return_tensors="np")["pixel_values"][0]
    values: Pixels = np.asarray(made, dtype=np.float32)
    return values


def shortest(settings: Mapping[str, Any]) -> int:
    """What the shorter side becomes."""
    size = settings["size"]
    return int(size["shortest_edge"] if isinstance(size, Mapping) else size)


def _crop(settings: Mapping[str, Any]) -> tuple[int, int]:
    crop = settings["crop_size"]
    return (crop["height"], crop["width"]) if isinstance(crop, Mapping) else (crop, crop)


def _squared(image: Image.Image, settings: Mapping[str, Any]) -> Image.Image:
    width, height = image.size
    side = max(width, height)
    if width == height:
        return image
    ground = Image.new(image.mode, (side, side), tuple(int(mean * 255) for mean in settings["image_mean"]))
    ground.paste(image, ((side - width) // 2, (side - height) // 2))
    return ground
