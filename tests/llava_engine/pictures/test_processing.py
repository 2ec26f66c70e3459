"""Pixels against transformers' own processors, and what a preprocessor_config.json may say."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from llava_engine.errors import ModelError
from llava_engine.pictures.opening import open_picture
from llava_engine.pictures.processing import Mode, Preprocessing

CLIP = {
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "crop_size": {"height": 56, "width": 56},
    "size": {"shortest_edge": 56},
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
}


def noise(width: int, height: int) -> Image.Image:
    """Every pixel its own, so that a shift by one shows."""
    return Image.fromarray(np.random.default_rng(width * 1000 + height).integers(0, 255, (height, width, 3), np.uint8))


def theirs(config: dict[str, Any], image: Image.Image, *, llava: bool) -> np.ndarray[Any, np.dtype[np.float32]]:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    processor = (LlavaImageProcessorPil if llava else CLIPImageProcessorPil)(**config)
    made = processor(image, return_tensors="np")["pixel_values"][0]
    return np.asarray(made, dtype=np.float32)


@pytest.mark.parametrize("size", [(80, 60), (60, 80), (56, 56), (20, 30), (300, 100), (57, 171), (1, 40), (90, 1)])
@pytest.mark.parametrize(
    ("changes", "llava"),
    [
        ({}, False),
        ({"do_pad": True}, True),
        ({"do_pad": False}, True),
        ({"crop_size": {"height": 42, "width": 48}, "size": {"shortest_edge": 70}}, False),
        ({"size": {"height": 40, "width": 60}, "do_center_crop": False}, False),
        ({"resample": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.4, 0.3]}, False),
        ({"size": 56, "crop_size": 56}, False),
    ],
    ids=["square", "pad", "llava without pad", "crop", "stretch", "other numbers", "old keys"],
)
def test_pixels_are_the_reference_processors(size: tuple[int, int], changes: dict[str, Any], llava: bool) -> None:
    config = CLIP | changes
    expected = theirs(config, noise(*size), llava=llava)
    pixels = Preprocessing.from_config(config).pixels(noise(*size))
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    np.testing.assert_allclose(pixels, expected, rtol=0, atol=1e-5)


def test_what_the_model_sees_is_a_picture_of_the_very_pixels() -> None:
    preprocessing = Preprocessing("pad", (40, 40), 40)
    picture = open_picture(noise(80, 40))
    seen = preprocessing.seen(picture)
    assert (seen.mode, seen.size) == ("RGB", (40, 40))
    assert seen.getpixel((20, 2)) == (122, 116, 104)  # CLIP's mean colour, in the bar above
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    expected = (np.asarray(seen, dtype=np.float64) / 255 - mean) / std
    np.testing.assert_allclose(preprocessing.pixels(picture), expected.transpose(2, 0, 1), rtol=0, atol=1e-5)


@settings(max_examples=30)
@given(
    mode=st.sampled_from(["square", "pad", "stretch"]),
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    grey=st.booleans(),
)
def test_pictures_of_any_shape_fit(mode: Mode, width: int, height: int, grey: bool) -> None:
    image = Image.new("L" if grey else "RGB", (width, height))
    assert Preprocessing(mode, (24, 32), 32).pixels(image).shape == (3, 24, 32)


@pytest.mark.parametrize("mode", ["square", "pad"])
def test_a_line_of_a_million_pixels_does_not_fill_the_memory(mode: Mode) -> None:
    """Resized as it is, it would be 56 by 56 million pixels; as a square, a million by a million."""
    line = Image.new("RGB", (1_000_000, 1), "red")
    pixels = Preprocessing(mode, (56, 56), 56).seen(line)
    assert pixels.getpixel((28, 28)) == (255, 0, 0) or mode == "pad"
    assert pixels.size == (56, 56)


def test_a_very_long_picture_shows_its_middle() -> None:
    image = Image.new("RGB", (40_000, 10), "red")
    image.paste("blue", (20_000, 0, 40_000, 10))
    seen = Preprocessing("square", (56, 56), 56).seen(image)
    assert seen.getpixel((5, 28)) == (255, 0, 0)
    assert seen.getpixel((50, 28)) == (0, 0, 255)


def test_a_huge_png_is_padded_in_reasonable_memory() -> None:
    raw = zlib.compress(b"".join(b"\x00" + b"\xff\x00\x00" * 20_000 for _ in range(100)))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 100, 8, 2, 0, 0, 0))
    picture = open_picture(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", raw) + chunk(b"IEND", b""))
    seen = Preprocessing("pad", (224, 224), 224).seen(picture)
    red = np.asarray(seen)[:, 112, 0] > 150
    assert 1 <= red.sum() <= 3  # 100 of 20,000 is one pixel of 224


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(CLIP | {"do_pad": True, "image_processor_type": "LlavaImageProcessor"}))
    read = Preprocessing.from_file(path)
    assert read == Preprocessing("pad", (56, 56), 56, rescale=CLIP["rescale_factor"])  # type: ignore[arg-type]
    path.write_text(json.dumps(CLIP))
    assert Preprocessing.from_file(path) == replace(read, mode="square")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '"text"',
        json.dumps(CLIP | {"do_resize": False}),
        json.dumps(CLIP | {"do_normalize": False}),
        json.dumps(CLIP | {"do_center_crop": False}),
        json.dumps(CLIP | {"size": {"longest_edge": 5}}),
        json.dumps(CLIP | {"size": {"shortest_edge": "large"}}),
        json.dumps(CLIP | {"size": {"shortest_edge": 20}}),
        json.dumps(CLIP | {"size": 0, "crop_size": 0}),
        json.dumps(CLIP | {"image_mean": [0.5]}),
        json.dumps(CLIP | {"image_std": 0.5}),
        json.dumps(CLIP | {"resample": 17}),
        json.dumps(CLIP | {"image_grid_pinpoints": [[100, 56]]}),
        json.dumps(CLIP | {"image_grid_pinpoints": [[56 * 1000, 56 * 1000]]}),
        json.dumps(CLIP | {"image_grid_pinpoints": [[56]]}),
        json.dumps(CLIP | {"image_grid_pinpoints": [["56", "many"]]}),
        json.dumps(CLIP | {"image_grid_pinpoints": [[56, 112]], "crop_size": {"height": 40, "width": 56}}),
    ],
)
def test_what_can_not_be_followed_is_a_users_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(content)
    with pytest.raises(ModelError, match="preprocessor_config") as caught:
        Preprocessing.from_file(path)
    assert caught.value.remedy


def test_a_missing_file_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no"):
        Preprocessing.from_file(tmp_path / "preprocessor_config.json")
