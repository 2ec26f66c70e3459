"""Samples of several lengths -> one batch.

Rows are padded on the right, so that a causal model needs no mask: what is padding comes after everything else and is
never asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.data.samples import Sample
from training.movable import Movable


@dataclass(frozen=True)
class Batch(Movable):
    """Padded rows.

    Attributes:
        ids: (B, T).
        targets: (B, T), -1 where nothing is learned.
        pixels: (pictures of all rows in order, 3, side, side).
    """

    ids: Tensor
    targets: Tensor
    pixels: Tensor


def collate(samples: Sequence[Sample], pad: int, *, multiple: int = 8) -> Batch:
    """Pad samples to one length, a multiple of `multiple`: each new shape costs a CPU library a new kernel."""
    longest = max(len(sample.ids) for sample in samples)
    length = longest + -longest % multiple
    ids = torch.full((len(samples), length), pad)
    targets = torch.full((len(samples), length), -1)
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = sample.ids
        targets[row, : len(sample.targets)] = sample.targets
    return Batch(ids, targets, torch.cat([sample.pixels for sample in samples]))
