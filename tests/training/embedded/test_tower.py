"""The loss on patch labels, worked out by hand; and that a tower learns from it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.config import FlatThenLinear, Optim, Run
from training.embedded.patch_targets import PatchTargets
from training.embedded.picture_world.labels import LABELS
from training.embedded.settings import TinyShape
from training.embedded.tiny import vision_config
from training.embedded.tower import (
    HEADS_FILE,
    TOWER_FILE,
    LabelledSource,
    PatchHeads,
    TowerStage,
    new_tower,
    patch_loss,
)
from training.saving import read_into
from training.trainer import train


def blank(**known: list[int]) -> dict[str, NDArray[np.int64]]:
    """Labels of four patches: -1 where nothing is said."""
    return {name: np.array([known.get(name, [-1] * 4)]) for name in LABELS}


def silent_heads() -> PatchHeads:
    heads = PatchHeads(8)
    torch.nn.init.zeros_(heads.linear.weight)
    torch.nn.init.zeros_(heads.linear.bias)
    return heads


def test_undecided_heads_lose_the_log_of_their_classes() -> None:
    """Every mean over patches is log(classes): twice a half for each label, and a half more for empty patches' kind."""
    labels = blank(
        kind=[3, 3, 14, -1],
        colour=[2, 2, -1, -1],
        middle=[1, 0, -1, -1],
        column=[5, 5, -1, -1],
        same_pair=[0, 0, -1, -1],
    )
    loss, figures = patch_loss(silent_heads(), torch.randn(1, 4, 8), PatchTargets.of(labels))
    expected = sum(
        LABELS[name][1] * math.log(LABELS[name][0]) for name in ("kind", "colour", "middle", "column", "same_pair")
    )
    expected += 0.5 * LABELS["kind"][1] * math.log(LABELS["kind"][0])
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    right = dict(zip(figures.names, figures.table.tolist(), strict=True))
    assert right["kind"] == [0.0, 1.0]  # the one middle patch; an undecided head says class 0
    assert right["same_pair"] == [1.0, 1.0]


def test_a_small_item_counts_like_a_large_one() -> None:
    """Nine patches of a large item, one of a small: the middle patches share half of the loss evenly."""
    heads = silent_heads()
    with torch.no_grad():
        heads.linear.bias[0] = 3.0  # says class 0 of `kind`
    labels = {name: np.full((1, 10), -1) for name in LABELS}
    labels["kind"][0], labels["colour"][0] = 0, 0
    labels["kind"][0, 9] = 1
    labels["middle"][0] = 0
    labels["middle"][0, [0, 9]] = 1
    loss, figures = patch_loss(heads, torch.zeros(1, 10, 8), PatchTargets.of(labels))
    assert figures.table[figures.names.index("kind")].tolist() == [1.0, 2.0]
    others = sum(math.log(LABELS[name][0]) * LABELS[name][1] for name in ("colour", "middle"))
    says = torch.tensor([3.0] + [0.0] * (LABELS["kind"][0] - 1)).log_softmax(0)
    means = 0.5 * (0.9 * says[0] + 0.1 * says[1]) + 0.5 * (0.5 * says[0] + 0.5 * says[1])
    assert loss.item() == pytest.approx(others - LABELS["kind"][1] * means.item(), rel=1e-5)


def test_a_tower_learns_and_is_written(tmp_path: Path) -> None:
    shape = TinyShape(patch=24, tower_width=32, tower_layers=1, tower_heads=4, tower_mlp=32)
    tower = new_tower(vision_config(shape), seed=0)
    stage = TowerStage(tower, layer=-1, seed=0)
    batch = LabelledSource(seed=1, grid=4, size=10)[0]
    with torch.no_grad():
        before = stage.loss(batch, 0, 0.0)[0].item()
    run = Run(tmp_path, steps=25, workers=0, threads=1, precision="fp32")
    train(stage, run, Optim(learning_rate=3e-3, schedule=FlatThenLinear(warmup=5)))
    with torch.no_grad():
        assert stage.loss(batch, 0, 0.0)[0].item() < 0.8 * before
    again, heads = new_tower(vision_config(shape), seed=9), PatchHeads(32)
    read_into(again, tmp_path / TOWER_FILE)
    read_into(heads, tmp_path / HEADS_FILE)
    pixels = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(again(pixels), tower(pixels))
