"""What a weight file's own table says of a tensor, whatever the file's form; and how large such a table may be."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch

MAX_TABLE_BYTES = 2**22
"""What the tables of all weight files of a folder may take: names, shapes and places, some 130 bytes a tensor.

The largest LLaVA (110 billion parameters) has 1,400 tensors. What is made of a table takes twenty times its size and
some microseconds a byte, and anybody can write one.
"""


@dataclass(frozen=True)
class TensorPlace:
    """Where a tensor's numbers lie in a file.

    Attributes:
        shape, dtype: of the tensor.
        start: the byte of the file where its first number begins.
        strides: in numbers, as torch counts them; None when they follow each other.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int
    strides: tuple[int, ...] | None = None

    @property
    def bytes(self) -> int:
        """How many bytes of the file it spans, from its first number to its last."""
        if self.strides is None or 0 in self.shape:
            return prod(self.shape) * self.dtype.itemsize
        last = sum((count - 1) * stride for count, stride in zip(self.shape, self.strides, strict=True))
        return (last + 1) * self.dtype.itemsize


@dataclass(frozen=True)
class TensorTable:
    """All tensors of a file by name, and how many bytes of table said so."""

    places: dict[str, TensorPlace]
    bytes: int
