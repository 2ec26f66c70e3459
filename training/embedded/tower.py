"""Stage 0: the vision tower alone, from free labels on every patch of drawn pictures.

In: pictures and patch labels (picture_world/labels.py). Out: a tower whose patches say what is there, where its middle
is and how many of its like there are, and the linear heads that read it (kept for finetuning, no part of the model).
Knows no language.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava_engine.model.config import VisionConfig
from llava_engine.model.vision import VisionTower
from training.embedded.picture_world.labels import LABELS, labelled_pictures
from training.saving import write_tensors
from training.trainer import ParameterGroup, Source

MEAN = SPREAD = (0.5, 0.5, 0.5)  # pixels become -1 to 1, and the padding (127) about 0
TOWER_FILE, HEADS_FILE = "tower.safetensors", "patch-heads.safetensors"


def normalized(pictures: Tensor) -> Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) float32, as preprocessing with `MEAN` and `SPREAD` hands them to the tower."""
    mean, spread = torch.tensor(MEAN, device=pictures.device), torch.tensor(SPREAD, device=pictures.device)
    return ((pictures.float() / 255 - mean) / spread).permute(0, 3, 1, 2)


def new_tower(config: VisionConfig, seed: int) -> VisionTower:
    """A tower to train from nothing: normal weights of 1/√fan-in, half of it where a layer adds to the stream."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        tower = VisionTower(config)
        for name, module in tower.named_modules():
            if isinstance(module, nn.Linear):
                halved = name.endswith((".out", ".fc2"))
                nn.init.normal_(module.weight, std=module.in_features**-0.5 * (0.5 if halved else 1.0))
                nn.init.zeros_(module.bias)
        nn.init.normal_(tower.patch_embedding, std=tower.patch_embedding[0].numel() ** -0.5)
        nn.init.normal_(tower.class_embedding, std=0.1)
        tower.position_embedding.zero_()
        tower.position_embedding[1:] = 0.3 * _waves(config.grid, config.hidden_size)
    return tower


def _waves(grid: int, width: int) -> Tensor:
    """(grid², width): sines and cosines of row and column (Vaswani et al. 2017, in two dimensions)."""
    quarter = width // 4
    frequencies = 100.0 ** -(torch.arange(quarter) / quarter)
    angles = torch.arange(grid).unsqueeze(1) * frequencies  # (grid, width/4)
    line = torch.cat([angles.sin(), angles.cos()], dim=1)  # (grid, width/2)
    rows = line.unsqueeze(1).expand(-1, grid, -1)
    columns = line.unsqueeze(0).expand(grid, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


class PatchHeads(nn.Module):
    """One linear head a label, as one product; thrown away in the end."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, sum(classes for classes, _ in LABELS.values()))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """(…, width) -> label -> (…, classes)."""
        parts = self.linear(features).float().split([classes for classes, _ in LABELS.values()], dim=-1)
        return dict(zip(LABELS, parts, strict=True))

    def kinds(self, features: Tensor) -> Tensor:
        """(…, width) -> (…, classes of `kind`), the only label that empty patches have too."""
        start = list(LABELS).index("kind")  # the first, so its rows are too
        assert start == 0
        classes = LABELS["kind"][0]
        return F.linear(features, self.linear.weight[:classes], self.linear.bias[:classes]).float()


def patch_loss(
    heads: PatchHeads, features: Tensor, labels: dict[str, Tensor]
) -> tuple[Tensor, dict[str, tuple[float, float]]]:
    """How wrong the heads are, from the tower's patches.

    For each label the mean over items' patches and the mean over their middle patches count alike, so that a small
    item is no less than a large one; empty patches count only for `kind`, and never in one mean with the others.

    Args:
        heads: the heads.
        features: (B, patches, width), without the class token.
        labels: label -> (B, patches), as picture_world/labels.py says; -1 where nothing is asked.

    Returns:
        The weighted sum over labels, and for each label how often the middle patch is right, as (right, asked).
    """
    patches = features.flatten(0, 1)
    flat = {name: label.flatten() for name, label in labels.items()}
    empty = (flat["colour"] < 0) & (flat["kind"] >= 0)
    kinds = heads.kinds(patches)
    lost = F.cross_entropy(kinds, flat["kind"], ignore_index=-1, reduction="none")
    total = LABELS["kind"][1] * 0.5 * (lost * _mean_of(empty)).sum()

    rows = _padded(torch.nonzero(flat["colour"] >= 0).squeeze(1))  # items' patches are a seventh of all
    read = heads(patches[rows.clamp(min=0)])
    at = {name: torch.where(rows >= 0, label[rows.clamp(min=0)], -1) for name, label in flat.items()}
    middle = at["middle"] == 1
    figures = {}
    for name, (_, weight) in LABELS.items():
        target, logits = at[name], read[name]
        asked = target >= 0
        share = 0.5 * (_mean_of(asked & ~middle if name == "middle" else asked) + _mean_of(asked & middle))
        lost = F.cross_entropy(logits, target, ignore_index=-1, reduction="none")
        total = total + weight * (lost * share).sum()
        right = (logits.argmax(-1) == target) & asked
        figures[name] = (
            ((right * share).sum().item(), 1.0)
            if name == "middle"
            else (float((right & middle).sum()), float((asked & middle).sum()))
        )
    return total, figures


def _padded(rows: Tensor, multiple: int = 128) -> Tensor:
    """Indices, filled with -1 to a multiple: each new shape of a product costs a CPU library a new kernel."""
    return F.pad(rows, (0, -len(rows) % multiple), value=-1)


def _mean_of(mask: Tensor) -> Tensor:
    """Weights that make a sum the mean over `mask`."""
    return mask / mask.sum().clamp(min=1)


@dataclass(frozen=True)
class Labelled:
    """Pictures (B, S, S, 3) uint8, and label -> (B, patches) int64."""

    pictures: Tensor
    labels: dict[str, Tensor]


@dataclass(frozen=True)
class LabelledSource:
    """Draws a batch: half of the pictures with up to four items, half with up to seven: small ones are learned last."""

    seed: int
    grid: int
    size: int = 32

    def __getitem__(self, step: int) -> Labelled:
        rng = random.Random(self.seed << 32 | step)
        crowded = self.size // 2
        drawn = [
            labelled_pictures(rng, self.size - crowded, 4, grid=self.grid),
            labelled_pictures(rng, crowded, 7, grid=self.grid),
        ]
        return Labelled(
            torch.from_numpy(np.concatenate([pictures for pictures, _ in drawn])),
            {name: torch.from_numpy(np.concatenate([labels[name] for _, labels in drawn])) for name in LABELS},
        )


class TowerStage:
    """Trains a tower and its heads together."""

    name = "tower"

    def __init__(self, tower: VisionTower, *, layer: int, seed: int) -> None:
        """`layer` is the hidden state that the model will project (`vision_feature_layer`)."""
        self.tower, self.layer = tower, layer
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.heads = PatchHeads(tower.config.hidden_size)
        self.source: Source = LabelledSource(seed, tower.config.grid)

    def batch_key(self, step: int, progress: float) -> int:
        """The step itself decides the pictures."""
        return step

    def loss(self, batch: Labelled, step: int, progress: float) -> tuple[Tensor, dict[str, tuple[float, float]]]:
        """See `patch_loss`."""
        device = self.tower.class_embedding.device
        features = self.tower(normalized(batch.pictures.to(device)), self.layer)[:, 1:]
        return patch_loss(self.heads, features, {name: label.to(device) for name, label in batch.labels.items()})

    def groups(self) -> list[ParameterGroup]:
        """Everything, at the full rate."""
        return [ParameterGroup((*self.tower.parameters(), *self.heads.parameters()))]

    def modules(self) -> dict[str, nn.Module]:
        """Tower and heads."""
        return {"tower": self.tower, "heads": self.heads}

    def state_dict(self) -> dict[str, Any]:
        """Nothing more."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing more."""

    def export(self, out: Path) -> None:
        """`tower.safetensors` and `patch-heads.safetensors`."""
        write_tensors(self.tower.state_dict(), out / TOWER_FILE)
        write_tensors(self.heads.state_dict(), out / HEADS_FILE)
