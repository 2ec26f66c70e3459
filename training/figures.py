"""What is watched while a model learns: sums and counts by name, kept where they were computed.

A step on a GPU must not wait for numbers that nobody reads yet; so they are added up on the device and read once a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Figures:
    """Means to be: name n is `table[n, 0] / table[n, 1]`.

    Attributes:
        names: one a row.
        table: (names, 2) float32, sums and counts.
    """

    names: tuple[str, ...]
    table: Tensor

    @classmethod
    def of(cls, **means: Tensor) -> Figures:
        """Single numbers, each counted once."""
        values = torch.stack([value.detach().float() for value in means.values()])
        return cls(tuple(means), torch.stack([values, torch.ones_like(values)], dim=1))

    def __or__(self, other: Figures) -> Figures:
        """Both, side by side."""
        if not other.names:
            return self
        return Figures(self.names + other.names, torch.cat([self.table, other.table]))

    def __add__(self, other: Figures) -> Figures:
        """Of two steps together; names that only one of them has stand behind."""
        if self.names == other.names:
            return Figures(self.names, self.table + other.table)
        names = tuple(dict.fromkeys(self.names + other.names))
        table = self.table.new_zeros(len(names), 2)
        for mine in (self, other):
            table[[names.index(name) for name in mine.names]] += mine.table
        return Figures(names, table)

    def means(self) -> dict[str, float]:
        """Read them; names that nothing was counted for are left out."""
        rows = self.table.tolist()
        return {name: total / count for name, (total, count) in zip(self.names, rows, strict=True) if count}


NONE = Figures((), torch.zeros(0, 2))
