"""An RGB picture -> the pixels that a vision tower reads, as the checkpoint's preprocessor_config.json says.

In: a `Picture` or a PIL image in RGB. Out: numpy float32, and "what the model sees" as a picture. Knows no torch and
no model. Resizing is Pillow's, on 8-bit pixels: so it was when the released checkpoints were trained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from llava_engine.errors import ModelError
from llava_engine.pictures.opening import Picture

if TYPE_CHECKING:
    from PIL import Image

Mode = Literal["square", "pad", "stretch"]
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_BICUBIC = 3  # PIL.Image.Resampling.BICUBIC, as the files write it
_THINNEST = 32  # of a picture that is longer than this many times its width, only the middle is resized
_LONGEST = 8192  # a picture that is longer is reduced before it is padded: a square of 200 MB is enough


@dataclass(frozen=True)
class Preprocessing:
    """How pictures are made ready.

    Attributes:
        mode: "square" resizes the shorter side to `resize_to` and cuts out the middle; "pad" first makes the picture
            square with bars of the mean colour, so that nothing is cut off; "stretch" resizes both sides to `size`.
        size: (height, width) of the result, in pixels.
        resize_to: the shorter side after resizing; "square" and "pad" cut `size` out of that.
        mean: of each channel, taken off after scaling to 0…1.
        std: of each channel, divided by after that.
        resample: Pillow's number for the filter (3 is bicubic).
        rescale: what 8-bit values are multiplied by.
    """

    mode: Mode
    size: tuple[int, int]
    resize_to: int
    mean: tuple[float, float, float] = _CLIP_MEAN
    std: tuple[float, float, float] = _CLIP_STD
    resample: int = _BICUBIC
    rescale: float = 1 / 255

    @classmethod
    def from_file(cls, path: str | Path) -> Preprocessing:
        """Read preprocessor_config.json.

        Raises:
            ModelError: it is missing, broken, or asks for something that we do not do.
        """
        path = Path(path)
        try:
            config = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise ModelError(f"There is no {path}.", "Take the model's folder complete.") from error
        except OSError as error:
            raise ModelError(f"{path} can not be read: {error.strerror}.", "Check its permissions.") from error
        except ValueError as error:
            raise ModelError(f"{path} is not valid JSON: {error}.", "Download it again.") from error
        try:
            return cls.from_config(config)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"{path} can not be followed: {error}.", "Take the model's own file.") from error

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Preprocessing:
        """Read the keys as CLIPImageProcessor and LlavaImageProcessor write them; absent ones have CLIP's values.

        Raises:
            ValueError: a key asks for something that we do not do.
        """
        for key in ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb"):
            if not config.get(key, True):
                raise ValueError(f"{key} is off")
        mode, size, resize_to = _geometry(config)
        return cls(
            mode,
            size,
            resize_to,
            mean=_three(config.get("image_mean", _CLIP_MEAN), "image_mean"),
            std=_three(config.get("image_std", _CLIP_STD), "image_std"),
            resample=int(config.get("resample", _BICUBIC)),
            rescale=float(config.get("rescale_factor", 1 / 255)),
        )

    def seen(self, picture: Picture | Image.Image) -> Image.Image:
        """What the model sees of a picture, as a picture of `size`."""
        from PIL import Image

        image = picture.image if isinstance(picture, Picture) else picture
        image = image if image.mode == "RGB" else image.convert("RGB")
        resample = Image.Resampling(self.resample)
        height, width = self.size
        if self.mode == "stretch":
            return image.resize((width, height), resample)
        image = self._padded(image) if self.mode == "pad" else _middle(image)
        short = min(image.size)
        across, down = (self.resize_to * side // short for side in image.size)
        left, top = (across - width) // 2, (down - height) // 2
        return image.resize((across, down), resample).crop((left, top, left + width, top + height))

    def pixels(self, picture: Picture | Image.Image) -> NDArray[np.float32]:
        """A picture's pixels for the tower: (3, height, width), scaled and normalized."""
        seen = np.asarray(self.seen(picture), dtype=np.float32)  # (H, W, 3)
        scaled = seen * np.float32(self.rescale)
        mean, std = np.array(self.mean, dtype=np.float32), np.array(self.std, dtype=np.float32)
        normalized = (scaled - mean) / std
        return np.ascontiguousarray(normalized.transpose(2, 0, 1), dtype=np.float32)  # (3, H, W)

    def _padded(self, image: Image.Image) -> Image.Image:
        """Square, the picture in the middle; the mean colour is cut to whole numbers, as LLaVA 1.5 did."""
        from PIL import Image

        if max(image.size) > _LONGEST:
            image = image.reduce(-(-max(image.size) // _LONGEST))
        side = max(image.size)
        red, green, blue = (int(channel * 255) for channel in self.mean)
        square = Image.new("RGB", (side, side), (red, green, blue))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        return square


def _geometry(config: Mapping[str, Any]) -> tuple[Mode, tuple[int, int], int]:
    """Mode, size of the result (height, width), and the shorter side after resizing."""
    if config.get("image_grid_pinpoints"):
        raise ValueError("image_grid_pinpoints asks for tiles")
    size = config.get("size", {"shortest_edge": 224})
    resize_to = size if isinstance(size, int) else size.get("shortest_edge")
    if config.get("resample", _BICUBIC) not in range(6):
        raise ValueError(f"resample is {config['resample']}")
    if resize_to is None:
        if config.get("do_pad"):
            raise ValueError("do_pad without a shortest_edge")
        return "stretch", (int(size["height"]), int(size["width"])), int(size["height"])
    if not config.get("do_center_crop", True):
        raise ValueError("do_center_crop is off")
    crop = config.get("crop_size", resize_to)
    height, width = (crop, crop) if isinstance(crop, int) else (int(crop["height"]), int(crop["width"]))
    if min(height, width) < 1:
        raise ValueError(f"crop_size is {height} by {width}")
    if max(height, width) > resize_to:
        raise ValueError(f"crop_size {height} by {width} is larger than shortest_edge {resize_to}")
    return ("pad" if config.get("do_pad") else "square"), (height, width), int(resize_to)


def _middle(image: Image.Image) -> Image.Image:
    """The middle of a very long picture: resized whole, one pixel by a million would fill the memory."""
    most = min(image.size) * _THINNEST
    width, height = (min(side, most) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height)) if max(image.size) > most else image


def _three(values: Any, key: str) -> tuple[float, float, float]:
    if len(values) != 3:
        raise ValueError(f"{key} has {len(values)} numbers instead of 3")
    return float(values[0]), float(values[1]), float(values[2])
