"""Pictures in tiles become the tokens that transformers' LLaVA-NeXT makes of them, and as many as were counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llava_engine.checkpoints.load import load_for_inference
from llava_engine.model.config import PatchMerge, TilesConfig
from llava_engine.model.tiles import merge, picture_tokens
from llava_engine.opening import Placement
from llava_engine.pictures.processing import Preprocessing
from tests.llava_engine.pictures.test_processing import CLIP, noise
from tests.llava_engine.tiny import IMAGE_TOKEN, TILED, oracle, parts, random_model, saved

assert TILED.tiles is not None
PINPOINTS = [list(pinpoint) for pinpoint in TILED.tiles.pinpoints]
NEXT: dict[str, Any] = CLIP | {"do_pad": True, "image_grid_pinpoints": PINPOINTS}
SIZES = [(80, 60), (60, 80), (300, 100), (57, 171), (20, 30), (640, 480), (400, 10)]  # (width, height)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiled"
    saved(TILED, folder)
    return folder


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    return oracle(folder)


@pytest.mark.parametrize("shown", [SIZES[:1], SIZES[:3], SIZES[3:]], ids=len)
def test_logits_are_those_of_transformers(folder: Path, reference: Any, shown: list[tuple[int, int]]) -> None:
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    images = [noise(*size) for size in shown]
    theirs = LlavaNextImageProcessorPil(**NEXT)(images, return_tensors="pt")
    ours = load_for_inference(*parts(folder), Placement(device="cpu")).model
    preprocessing = Preprocessing.from_config(NEXT)
    ids, features = [1, 5, 9], []
    with torch.no_grad():
        for image in images:
            size = (image.height, image.width)
            features.append(ours.picture_features(torch.from_numpy(preprocessing.views(image)), size))
            assert len(features[-1]) == picture_tokens(TILED, size)
            ids += [IMAGE_TOKEN] * len(features[-1]) + [7, 8]
        tokens = torch.tensor([ids])
        x = ours.embed(tokens, torch.cat(features))
        logits = ours.language_model.logits(ours.language_model(x, torch.arange(len(ids))))
        expected = reference(
            input_ids=tokens, pixel_values=theirs["pixel_values"], image_sizes=theirs["image_sizes"]
        ).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


@settings(max_examples=500)
@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_the_count_is_what_transformers_leaves_of_the_padding(height: int, width: int) -> None:
    from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape, unpad_image

    rows, columns = get_anyres_image_grid_shape((height, width), PINPOINTS, 56)  # type: ignore[no-untyped-call]
    left = unpad_image(torch.empty(1, rows * 4, columns * 4), (height, width))  # type: ignore[no-untyped-call]
    assert picture_tokens(TILED, (height, width)) == 16 + left.shape[1] * (left.shape[2] + 1)


def test_the_originals_arithmetic_loses_a_patch_where_floating_point_does() -> None:
    """A picture of 88 by 55 in 24 rows has 15 columns; 55 * (24 / 88) is 14.999999999999998."""
    config = replace(
        TILED, vision=replace(TILED.vision, image_size=336), tiles=TilesConfig(((336, 336),), rounded=True)
    )
    assert config.tiles is not None
    assert picture_tokens(config, (88, 55)) == 576 + 24 * (16 + 1)
    original = replace(config, tiles=replace(config.tiles, rounded=False))
    assert picture_tokens(original, (88, 55)) == 576 + 24 * (14 + 1)


@pytest.mark.parametrize("kind", ["flat", "spatial"])
@pytest.mark.parametrize("size", SIZES)
def test_other_merges_keep_every_patch(kind: PatchMerge, size: tuple[int, int]) -> None:
    """Each feature is its own row and column in the whole plane."""
    assert TILED.tiles is not None
    config = replace(TILED, tiles=replace(TILED.tiles, merge=kind))
    seen = Preprocessing.from_config(NEXT).seen(noise(*size))
    height, width = seen.height // 14, seen.width // 14
    plane = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1).float()
    tiles = [
        plane[top : top + 4, left : left + 4].flatten(0, 1)
        for top in range(0, height, 4)
        for left in range(0, width, 4)
    ]
    whole = torch.full((16, 2), -2.0)
    merged = merge(torch.stack([whole, *tiles]), size[::-1], config, None)
    assert len(merged) == picture_tokens(config, size[::-1])
    assert torch.equal(merged, torch.cat([whole, *tiles] if kind == "flat" else [whole, plane.flatten(0, 1)]))


def test_only_unpadding_has_a_newline() -> None:
    assert TILED.tiles is not None
    flat = random_model(replace(TILED, tiles=replace(TILED.tiles, merge="flat")))
    assert "image_newline" in dict(random_model(TILED).named_parameters())
    assert "image_newline" not in dict(flat.named_parameters())
