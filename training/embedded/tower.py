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
from training.embedded.patch_targets import PatchTargets
from training.embedded.picture_world.labels import LABELS, NOTHING, labelled_pictures
from training.figures import Figures
from training.movable import Movable
from training.saving import write_tensors
from training.trainer import ParameterGroup, Source

MEAN = SPREAD = (0.5, 0.5, 0.5)  # pixels become -1 to 1, and the padding (127) about 0
TOWER_FILE, HEADS_FILE = "tower.safetensors", "patch-heads.safetensors"


def normalized(pictures: Tensor) -> Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) float32, as preprocessing with `MEAN` and `SPREAD` hands them to the tower."""
    assert MEAN == SPREAD == (0.5, 0.5, 0.5)
    return (pictures.float() / 127.5 - 1).permute(0, 3, 1, 2)


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
    """One linear head a label, as one product, each of as many classes as the largest; thrown away in the end."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = torch.tensor([classes for classes, _ in LABELS.values()])
        self.most = int(sizes.max())
        self.linear = nn.Linear(width, len(sizes) * self.most)
        none = torch.arange(self.most) >= sizes.unsqueeze(1)
        self.register_buffer("none", none, persistent=False)  # (labels, classes): there is no such class

    def forward(self, features: Tensor) -> Tensor:
        """(n, width) -> (labels, n, classes), -inf where a label has no such class."""
        assert isinstance(self.none, Tensor)
        parts: Tensor = self.linear(features).float().unflatten(-1, (-1, self.most))
        return parts.masked_fill(self.none, float("-inf")).transpose(0, 1)

    def kinds(self, features: Tensor) -> Tensor:
        """(…, width) -> (…, classes of `kind`), the only label that empty patches have too."""
        classes = LABELS["kind"][0]
        assert next(iter(LABELS)) == "kind"  # so its rows are the first
        return F.linear(features, self.linear.weight[:classes], self.linear.bias[:classes]).float()


def patch_loss(heads: PatchHeads, features: Tensor, targets: PatchTargets) -> tuple[Tensor, Figures]:
    """How wrong the heads are, from the tower's patches.

    Args:
        heads: the heads.
        features: (B, patches, width), without the class token.
        targets: what is asked, and what it is worth.

    Returns:
        The weighted sum over labels, and for each label how often the middle patch is right.
    """
    patches = features.flatten(0, 1)
    empty = -(heads.kinds(patches).log_softmax(-1)[:, NOTHING] * targets.empty).sum()
    logits = heads(patches[targets.rows])
    said = logits.log_softmax(-1).gather(-1, targets.values.unsqueeze(-1)).squeeze(-1)  # (labels, n)
    right = (logits.detach().argmax(-1) == targets.values) * targets.watched
    counted = torch.stack([right.sum(1), targets.watched.sum(1)], dim=1)
    return empty - (said * targets.weights).sum(), Figures(tuple(LABELS), counted)


@dataclass(frozen=True)
class Labelled(Movable):
    """Pictures (B, S, S, 3) uint8, and what their patches are asked."""

    pictures: Tensor
    targets: PatchTargets


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
            PatchTargets.of({name: np.concatenate([labels[name] for _, labels in drawn]) for name in LABELS}),
        )


class TowerStage:
    """Trains a tower and its heads together."""

    name = "tower"

    def __init__(self, tower: VisionTower, *, layer: int, seed: int, size: int = 32) -> None:
        """`layer` is the hidden state that the model will project (`vision_feature_layer`); `size` pictures a step."""
        self.tower, self.layer = tower, layer
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.heads = PatchHeads(tower.config.hidden_size)
        self.source: Source = LabelledSource(seed, tower.config.grid, size)

    def batch_key(self, step: int, progress: float) -> int:
        """The step itself decides the pictures."""
        return step

    def loss(self, batch: Labelled, step: int, progress: float) -> tuple[Tensor, Figures]:
        """See `patch_loss`."""
        features = self.tower(normalized(batch.pictures), self.layer)[:, 1:]
        return patch_loss(self.heads, features, batch.targets)

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
