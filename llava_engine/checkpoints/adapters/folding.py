"""What an adapter makes of a weight, in float32: a low-rank change, rows replaced, rows added.

In: functions that read tensors. Out: functions that read the result, so that nothing is computed before it is wanted.
Knows no names and no files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llava_engine.files.tensor_files import TensorSource

Read = Callable[[], Tensor]


@dataclass(frozen=True)
class LowRank:
    """W + scale · B·A (Hu et al. 2021, section 4.1).

    Attributes:
        weight: W, (out, in); for an embedding (tokens, width).
        down: A, (rank, in).
        up: B, (out, rank).
        scale: alpha / rank, or what stands for it.
        across: whether B·A is turned round: so it is for embeddings, where `in` counts tokens.
        magnitude: with DoRA, the length that each row of the result is given, (out,).
    """

    weight: Read
    down: Read
    up: Read
    scale: float
    across: bool = False
    magnitude: Read | None = None

    def __call__(self) -> Tensor:
        """The folded weight."""
        change: Tensor = (self.up().float() @ self.down().float()).mul_(self.scale)
        folded = (change.T if self.across else change).add_(self.weight())  # in place: these are the largest tensors
        if self.magnitude is None:
            return folded
        lengths: Tensor = folded.norm(dim=1)
        return folded * (self.magnitude().float().flatten() / lengths).unsqueeze(1)


def with_rows(weight: Read, rows: Sequence[int], new: Read) -> Read:
    """A weight in which these rows are others; `new` is (rows, width)."""

    def made() -> Tensor:
        result = weight().float().clone()
        result[list(rows)] = new().float()
        return result

    return made


def grown(source: TensorSource, name: str, rows: int, last: Read | None = None) -> Read:
    """A weight with more rows: its own, their mean as often as it takes, and `last` at the end."""

    def made() -> Tensor:
        own = source.read(name).float()
        end = own[:0] if last is None else last().float()
        mean = own.mean(dim=0, keepdim=True).expand(rows - len(own) - len(end), -1)
        return torch.cat([own, mean, end])

    return made
