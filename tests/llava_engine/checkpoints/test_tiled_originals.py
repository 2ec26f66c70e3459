"""LLaVA 1.6 in the original's layout: its tiles, its newline, and what its config.json may not ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import llava_engine
from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import ModelError
from llava_engine.model.tiles import picture_tokens
from tests.llava_engine.originals import NEWEST, ROWS, SIDE, WIDTH, language, projector, write, write_tower

PATCHES = 4
# Three tiles beside each other as (width, height), none below each other.
TILES = {
    "image_aspect_ratio": "anyres",
    "mm_patch_merge_type": "spatial_unpad",
    "image_grid_pinpoints": [[SIDE, SIDE], [3 * SIDE, SIDE]],
    "mm_use_im_start_end": False,
    "vocab_size": ROWS,
}


def written(folder: Path, **changes: Any) -> tuple[Path, dict[str, Path]]:
    tensors = language(ROWS) | projector(2) | {"model.image_newline": torch.ones(WIDTH)}
    towers = {"": write_tower(folder / "tower")}
    return write(folder / "model", {**NEWEST, **TILES, **changes}, tensors), towers


def opened(folder: Path, **changes: Any) -> Checkpoint:
    model, towers = written(folder, **changes)
    return open_checkpoint(model, towers=towers)


@pytest.mark.parametrize("listed", [TILES["image_grid_pinpoints"], str(TILES["image_grid_pinpoints"])], ids=type)
def test_pinpoints_are_turned_round(tmp_path: Path, listed: object) -> None:
    checkpoint = opened(tmp_path, image_grid_pinpoints=listed)
    assert checkpoint.config.tiles is not None
    assert checkpoint.config.tiles.pinpoints == checkpoint.preprocessing.pinpoints == ((SIDE, SIDE), (SIDE, 3 * SIDE))
    wide = Image.new("RGB", (3 * SIDE, SIDE))
    assert checkpoint.preprocessing.seen(wide).size == wide.size
    assert len(checkpoint.preprocessing.views(wide)) == 1 + 3
    assert picture_tokens(checkpoint.config, (SIDE, 3 * SIDE)) == PATCHES + 2 * (6 + 1)


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({}, PATCHES + 2 * (6 + 1)),
        ({"mm_patch_merge_type": "spatial"}, PATCHES + 2 * 6),
        ({"mm_patch_merge_type": "flat"}, PATCHES + 3 * PATCHES),
        ({"image_aspect_ratio": "pad"}, PATCHES),
        ({"image_aspect_ratio": "square"}, PATCHES),
    ],
    ids=["unpadded", "spatial", "flat", "pad", "square"],
)
def test_the_newline_is_passed_over_where_rows_do_not_end(tmp_path: Path, changes: dict[str, Any], tokens: int) -> None:
    """A 1.6 that was tuned on without tiles keeps its newline."""
    folder, towers = written(tmp_path, **changes)
    chat = llava_engine.load(folder, tower=towers[""], device="cpu").chat(max_new_tokens=2)
    for _ in chat.send("What?", pictures=[Image.new("RGB", (3 * SIDE, SIDE), "red")]):
        pass
    assert chat.last is not None
    assert chat.last.picture_tokens == (tokens,)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_grid_pinpoints": [[SIDE * 100, SIDE * 100]]}, "tiles"),
        ({"image_grid_pinpoints": [[SIDE + 1, SIDE]]}, "tiles"),
        ({"image_grid_pinpoints": []}, "image_grid_pinpoints"),
        ({"image_grid_pinpoints": None}, "image_grid_pinpoints"),
        ({"mm_vision_select_feature": "cls_patch"}, "class token"),
        ({"mm_patch_merge_type": "round"}, "mm_patch_merge_type"),
        ({"image_aspect_ratio": "anyres_max_9"}, "image_aspect_ratio"),
    ],
)
def test_what_can_not_be_followed_is_a_users_error(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        opened(tmp_path, **changes)
