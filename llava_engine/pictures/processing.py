"""An RGB picture -> the pixels that a vision tower reads, as the checkpoint's preprocessor_config.json says.

In: a `Picture` or a PIL image in RGB. Out: numpy float32, and "what the model sees" as a picture. Knows no torch and
no model. Resizing is Pillow's, on 8-bit pixels: so it was when the released checkpoints were trained. A picture is
seen in one view, or by LLaVA 1.6 ("anyres") in several: squashed whole, then tile by tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.pictures.opening import Picture, open_picture
from llava_engine.pictures.tiling import Size, best_resolution, check_pinpoints, fitted

if TYPE_CHECKING:
    from PIL import Image

Mode = Literal["square", "pad", "stretch", "anyres"]
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_BICUBIC = 3  # PIL.Image.Resampling.BICUBIC, as the files write it
_THINNEST = 256  # of a picture that is longer than this many times its width, only the middle is resized
_LARGEST = 4096  # pixels along a side of what a tower reads; released towers take 224 to 672
_LONGEST = 8192  # a picture that is longer is reduced before it is padded: a square of 200 MB is enough


@dataclass(frozen=True)
class Preprocessing:
    """How pictures are made ready.

    Attributes:
        mode: "square" resizes the shorter side to `resize_to` and cuts out the middle; "pad" first makes the picture
            square with bars of the mean colour, so that nothing is cut off; "stretch" resizes both sides to `size`;
            "anyres" squashes it to a square, and adds tiles of the picture fitted into the best of `pinpoints`.
        size: (height, width) of each view, in pixels.
        resize_to: the shorter side after resizing; all but "stretch" cut `size` out of that.
        mean: of each channel, taken off after scaling to 0…1.
        std: of each channel, divided by after that.
        resample: Pillow's number for the filter (3 is bicubic).
        rescale: what 8-bit values are multiplied by.
        pinpoints: of "anyres": the (height, width) in pixels that a picture may be fitted into, whole tiles each.
    """

    mode: Mode
    size: tuple[int, int]
    resize_to: int
    mean: tuple[float, float, float] = _CLIP_MEAN
    std: tuple[float, float, float] = _CLIP_STD
    resample: int = _BICUBIC
    rescale: float = 1 / 255
    pinpoints: tuple[Size, ...] = ()

    @classmethod
    def from_file(cls, path: str | Path) -> Preprocessing:
        """Read preprocessor_config.json.

        Raises:
            ModelError: it is missing, broken, or asks for something that we do not do.
        """
        path = Path(path)
        config = read_json(path)
        try:
            return cls.from_config(config)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise ModelError(f"{path} can not be followed: {error}.", "Take the model's own file.") from error

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Preprocessing:
        """Read the keys of CLIPImageProcessor, LlavaImageProcessor and LlavaNextImageProcessor; the default is CLIP's.

        Raises:
            ValueError: a key asks for something that we do not do.
        """
        for key in ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb"):
            if not config.get(key, True):
                raise ValueError(f"{key} is off")
        pinpoints = tuple((int(height), int(width)) for height, width in config.get("image_grid_pinpoints") or ())
        mode, size, resize_to = _geometry(config, pinpoints)
        if not 1 <= min(*size, resize_to) <= max(*size, resize_to) <= _LARGEST:
            raise ValueError(f"its sizes are {size[0]} by {size[1]} of {resize_to}, not 1 to {_LARGEST} pixels")
        std, rescale = _three(config.get("image_std", _CLIP_STD), "image_std"), config.get("rescale_factor", 1 / 255)
        if min(std) <= 0 or not 0 < float(rescale) < math.inf:
            raise ValueError(f"image_std is {list(std)} and rescale_factor {rescale}, not above 0")
        return cls(
            mode,
            size,
            resize_to,
            mean=_three(config.get("image_mean", _CLIP_MEAN), "image_mean"),
            std=std,
            resample=int(config.get("resample", _BICUBIC)),
            rescale=float(rescale),
            pinpoints=pinpoints,
        )

    def as_original(self, aspect_ratio: str | None, pinpoints: Sequence[Size] = ()) -> Preprocessing:
        """What the original makes of a tower's own settings.

        Args:
            aspect_ratio: `image_aspect_ratio` of the model's config.json: "square" (as is None), "pad" or "anyres".
            pinpoints: of "anyres": (height, width) in pixels; the original's `image_grid_pinpoints` turned round.

        Raises:
            ModelError: it is something else, or the tiles do not fit the tower.
        """
        if aspect_ratio in (None, "square"):
            return self
        try:
            if aspect_ratio == "pad":
                return replace(self, mode="pad")
            if aspect_ratio != "anyres":
                raise ValueError("known are square, pad and anyres")
            check_pinpoints(pinpoints, self.size)
            # Whatever filter the tower asks for: the original fits pictures by Pillow's usual one.
            return replace(self, mode="anyres", resample=_BICUBIC, pinpoints=tuple(pinpoints))
        except ValueError as error:
            raise ModelError(
                f"config.json: image_aspect_ratio {aspect_ratio!r} can not be followed: {error}.",
                "Take the model's own files.",
            ) from error

    def seen(self, picture: Picture | Image.Image) -> Image.Image:
        """What the model sees of a picture, as a picture: of `size`, or with tiles what they are cut from."""
        if self.mode == "anyres":
            return self._fitted(_whole(picture))
        return self._seen(_rgb(picture))

    def pixels(self, picture: Picture | Image.Image) -> NDArray[np.float32]:
        """The pixels for the tower of a picture that is seen in one view: (3, height, width), scaled, normalized."""
        if self.mode == "anyres":
            raise ValueError("a picture in tiles has several views")
        return self.normalized(self._seen(_rgb(picture)))

    def views(self, picture: Picture | Image.Image) -> NDArray[np.float32]:
        """A picture's pixels for the tower: (N, 3, height, width); several views only in mode "anyres".

        Then the first is the whole picture, and its tiles follow row by row.
        """
        if self.mode != "anyres":
            return self.pixels(picture)[None]
        return np.stack([self.normalized(view) for view in self._views(_whole(picture))])

    def normalized(self, image: Image.Image) -> NDArray[np.float32]:
        """An RGB picture's pixels, scaled and normalized: (3, H, W)."""
        scaled = np.asarray(image, dtype=np.float32) * np.float32(self.rescale)  # (H, W, 3)
        mean, std = np.array(self.mean, dtype=np.float32), np.array(self.std, dtype=np.float32)
        normalized = (scaled - mean) / std
        return np.ascontiguousarray(normalized.transpose(2, 0, 1), dtype=np.float32)  # (3, H, W)

    def _seen(self, image: Image.Image) -> Image.Image:
        height, width = self.size
        if self.mode == "stretch":
            return image.resize((width, height), self._filter)
        return self._cut(self._padded(image) if self.mode == "pad" else _middle(image))

    def _cut(self, image: Image.Image) -> Image.Image:
        """Resized by the shorter side; `size` out of the middle."""
        height, width = self.size
        short = min(image.size)
        across, down = (self.resize_to * side // short for side in image.size)
        left, top = (across - width) // 2, (down - height) // 2
        return image.resize((across, down), self._filter).crop((left, top, left + width, top + height))

    def _views(self, image: Image.Image) -> Iterator[Image.Image]:
        """The whole picture squashed, then its tiles."""
        yield self._cut(image.resize((self.resize_to, self.resize_to), self._filter))
        whole, side = self._fitted(image), self.size[0]
        for top in range(0, whole.height, side):
            for left in range(0, whole.width, side):
                yield self._cut(whole.crop((left, top, left + side, top + side)))

    def _fitted(self, image: Image.Image) -> Image.Image:
        """The picture in the middle of its best resolution, on black."""
        from PIL import Image

        size = (image.height, image.width)
        down, across = best_resolution(size, self.pinpoints)
        height, width = fitted(size, (down, across))
        ground = Image.new("RGB", (across, down))
        ground.paste(image.resize((width, height), self._filter), ((across - width) // 2, (down - height) // 2))
        return ground

    @property
    def _filter(self) -> Image.Resampling:
        from PIL import Image

        return Image.Resampling(self.resample)

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


def _geometry(config: Mapping[str, Any], pinpoints: Sequence[Size]) -> tuple[Mode, Size, int]:
    """Mode, size of a view (height, width), and the shorter side after resizing."""
    if pinpoints:  # do_pad has another meaning there: it fills up batches
        _, size, resize_to = _geometry({**config, "do_pad": False}, ())
        check_pinpoints(pinpoints, size)
        return "anyres", size, resize_to
    asked = config.get("size", {"shortest_edge": 224})
    resize_to = asked if isinstance(asked, int) else asked.get("shortest_edge")
    if config.get("resample", _BICUBIC) not in range(6):
        raise ValueError(f"resample is {config['resample']}")
    if resize_to is None:
        if config.get("do_pad"):
            raise ValueError("do_pad without a shortest_edge")
        return "stretch", (int(asked["height"]), int(asked["width"])), int(asked["height"])
    if not config.get("do_center_crop", True):
        raise ValueError("do_center_crop is off")
    crop = config.get("crop_size", resize_to)
    height, width = (crop, crop) if isinstance(crop, int) else (int(crop["height"]), int(crop["width"]))
    if min(height, width) < 1:
        raise ValueError(f"crop_size is {height} by {width}")
    if max(height, width) > resize_to:
        raise ValueError(f"crop_size {height} by {width} is larger than shortest_edge {resize_to}")
    return ("pad" if config.get("do_pad") else "square"), (height, width), int(resize_to)


def _rgb(picture: Picture | Image.Image) -> Image.Image:
    image = picture.image if isinstance(picture, Picture) else picture
    return image if image.mode == "RGB" else image.convert("RGB")


def _whole(picture: Picture | Image.Image) -> Image.Image:
    """The picture with all its pixels: a large JPEG may have been decoded at a reduced size, and tiles show more."""
    if isinstance(picture, Picture) and picture.image.size != picture.size:
        return open_picture(picture.data, name=picture.name, draft_to=max(picture.size)).image
    return _rgb(picture)


def _middle(image: Image.Image) -> Image.Image:
    """The middle of a very long picture: resized whole, one pixel by a million would fill the memory."""
    most = min(image.size) * _THINNEST
    width, height = (min(side, most) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height)) if max(image.size) > most else image


def _three(values: Any, key: str) -> tuple[float, float, float]:
    if len(values) != 3:
        raise ValueError(f"{key} has {len(values)} numbers instead of 3")
    first, second, third = (float(value) for value in values)
    if not all(map(math.isfinite, (first, second, third))):
        raise ValueError(f"{key} is {values}")
    return first, second, third
