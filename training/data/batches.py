"""Samples -> batches, in an order that the seed decides: every row once, then all again in another order.

Rows are padded on the right, so that a causal model needs no mask: what is padding comes after everything else and is
never asked for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.data.samples import Sample, Samples


@dataclass(frozen=True)
class Batch:
    """Padded rows.

    Attributes:
        ids: (B, T).
        targets: (B, T), -1 where nothing is learned.
        pixels: (pictures of all rows in order, 3, side, side).
    """

    ids: Tensor
    targets: Tensor
    pixels: Tensor


@dataclass(frozen=True)
class BatchSource:
    """The batch of each step."""

    samples: Samples
    size: int
    seed: int

    def __getitem__(self, step: int) -> Batch:
        return collate([self.samples[number] for number in self.numbers(step)], self.samples.tokenizer.pad_id or 0)

    def numbers(self, step: int) -> list[int]:
        """Which rows the step reads; a batch may reach into the next round."""
        count = len(self.samples.rows)
        places = range(step * self.size, (step + 1) * self.size)
        rounds = {place // count: _shuffled(count, self.seed, place // count) for place in places}
        return [rounds[place // count][place % count] for place in places]


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


def _shuffled(count: int, seed: int, turn: int) -> list[int]:
    order = list(range(count))
    random.Random(seed << 32 | turn).shuffle(order)
    return order
