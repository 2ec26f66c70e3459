"""Patch labels as a batch holds them: only the patches that are asked about, with what each weighs in the loss.

In: labels as picture_world/labels.py makes them. Out: tensors for tower.py's `patch_loss`. Runs in a worker process, so
that nothing on the device has to be counted or searched for; knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.embedded.picture_world.labels import LABELS, NOTHING
from training.movable import Movable

ROWS = 128  # rows come in multiples of it: each new shape of a product costs a CPU library a new kernel


@dataclass(frozen=True)
class PatchTargets(Movable):
    """What a batch's patches are asked, n rows for items' patches and all for emptiness.

    For each label the mean over items' patches and the mean over their middle patches count alike, so that a small
    item is no less than a large one; empty patches count only for `kind`, and never in one mean with the others.

    Attributes:
        rows: (n,) flat indices into B·patches of items' patches; 0 with weights of nothing where they are filled up.
        values: (labels, n) classes in the order of `LABELS`; 0 where nothing is asked.
        weights: (labels, n) what each is worth in the loss.
        watched: (labels, n) what each counts in the figures: middle patches 1; for `middle` itself its share.
        empty: (B·patches,) what the kind `NOTHING` is worth there: a mean over empty patches.
    """

    rows: Tensor
    values: Tensor
    weights: Tensor
    watched: Tensor
    empty: Tensor

    @classmethod
    def of(cls, labels: Mapping[str, NDArray[np.int64]]) -> PatchTargets:
        """Labels, name -> (B, patches) -> targets."""
        table = np.stack([labels[name].ravel() for name in LABELS])  # (labels, B·patches)
        kind, colour = labels["kind"].ravel(), labels["colour"].ravel()
        rows = np.flatnonzero(colour >= 0)
        rows = np.pad(rows, (0, -len(rows) % ROWS), constant_values=-1)
        values = np.where(rows >= 0, table[:, rows], -1)
        asked = values >= 0
        at_middle = values[list(LABELS).index("middle")] == 1
        ordinary = asked.copy()
        for number, name in enumerate(LABELS):
            if name == "middle":
                ordinary[number] &= ~at_middle
        shares = 0.5 * (_means(ordinary) + _means(asked & at_middle))
        watched = (asked & at_middle).astype(np.float32)
        watched[list(LABELS).index("middle")] = shares[list(LABELS).index("middle")]
        told = np.array([weight for _, weight in LABELS.values()], np.float32)[:, None]
        empty = (colour < 0) & (kind == NOTHING)
        return cls(
            torch.from_numpy(rows.clip(min=0)),
            torch.from_numpy(values.clip(min=0)),
            torch.from_numpy((told * shares).astype(np.float32)),
            torch.from_numpy(watched),
            torch.from_numpy(0.5 * LABELS["kind"][1] * _means(empty[None])[0]),
        )


def _means(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Weights that make a sum over a row the mean over what is true in it."""
    weights: NDArray[np.float32] = (masks / masks.sum(1, keepdims=True).clip(min=1)).astype(np.float32)
    return weights
