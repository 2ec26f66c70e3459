"""Pictures in tiles: the views against transformers' own processor, and what no picture may do."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from llava_engine.errors import ModelError
from llava_engine.pictures.opening import open_picture
from llava_engine.pictures.processing import Preprocessing
from llava_engine.pictures.tiling import best_resolution, fitted
from tests.llava_engine.pictures.test_processing import CLIP, noise

# Not symmetric, so that a height taken for a width shows.
NEXT: dict[str, Any] = CLIP | {
    "do_pad": True,
    "image_grid_pinpoints": [[56, 112], [112, 56], [112, 112], [168, 56], [56, 224]],
}
TILES = Preprocessing.from_config(NEXT)


def theirs(config: dict[str, Any], image: Image.Image) -> np.ndarray[Any, np.dtype[np.float32]]:
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    made = LlavaNextImageProcessorPil(**config)(image, return_tensors="np")["pixel_values"][0]
    return np.asarray(made, dtype=np.float32)


@pytest.mark.parametrize(
    "size", [(80, 60), (60, 80), (56, 56), (300, 100), (57, 171), (20, 30), (2, 90), (640, 480), (333, 500)]
)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"size": {"height": 56, "width": 56}},
        {"resample": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.4, 0.3]},
        {"size": {"shortest_edge": 70}},
    ],
    ids=["released", "size by both sides", "other numbers", "cropped"],
)
def test_views_are_the_reference_processors(size: tuple[int, int], changes: dict[str, Any]) -> None:
    config = NEXT | changes
    views = Preprocessing.from_config(config).views(noise(*size))
    expected = theirs(config, noise(*size))
    assert views.dtype == np.float32
    assert views.shape == expected.shape
    np.testing.assert_allclose(views, expected, rtol=0, atol=1e-5)


@settings(max_examples=300)
@given(height=st.integers(1, 5000), width=st.integers(1, 5000))
def test_the_resolution_is_the_reference_codes(height: int, width: int) -> None:
    from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
    from transformers.image_utils import ChannelDimension

    best = best_resolution((height, width), TILES.pinpoints)
    assert best == select_best_resolution((height, width), NEXT["image_grid_pinpoints"])
    shape = np.broadcast_to(np.uint8(0), (3, height, width))
    expected = get_patch_output_size(shape, best, ChannelDimension.FIRST)  # type: ignore[no-untyped-call]
    assert fitted((height, width), best) == expected


def test_a_single_view_is_a_view() -> None:
    pad = Preprocessing("pad", (56, 56), 56)
    np.testing.assert_array_equal(pad.views(noise(80, 60)), pad.pixels(noise(80, 60))[None])


def test_what_the_model_sees_is_what_its_tiles_are_cut_from() -> None:
    seen = TILES.seen(Image.new("RGB", (400, 100), "red"))
    assert seen.size == (224, 56)
    assert seen.getpixel((112, 28)) == (255, 0, 0)
    tall = TILES.seen(Image.new("RGB", (100, 120), "red"))
    assert tall.size == (112, 112)
    assert tall.getpixel((2, 56)) == (0, 0, 0)  # the bar beside it


def test_a_line_of_a_million_pixels_does_not_fill_the_memory() -> None:
    views = TILES.views(Image.new("RGB", (1_000_000, 1), "red"))
    assert views.shape[1:] == (3, 56, 56)
    assert len(views) <= 5


def test_tiles_of_a_large_photograph_are_cut_from_all_its_pixels() -> None:
    photograph, file = noise(600, 500), io.BytesIO()
    photograph.save(file, "JPEG", quality=95)
    reduced = open_picture(file.getvalue(), draft_to=100)
    assert reduced.image.size < reduced.size
    whole = Image.open(io.BytesIO(file.getvalue()))
    np.testing.assert_allclose(TILES.views(reduced), theirs(NEXT, whole), rtol=0, atol=1e-5)


def test_the_originals_settings_are_the_towers_and_a_word() -> None:
    tower = Preprocessing.from_config(CLIP)
    assert tower.as_original(None) == tower.as_original("square") == tower
    assert tower.as_original("pad").mode == "pad"
    tiles = tower.as_original("anyres", [(56, 112), (112, 56)])
    assert (tiles.mode, tiles.pinpoints) == ("anyres", ((56, 112), (112, 56)))
    for ratio, pinpoints in (("keep", ()), ("anyres", ()), ("anyres", [(50, 100)])):
        with pytest.raises(ModelError, match="image_aspect_ratio"):
            tower.as_original(ratio, pinpoints)
