"""Batches that go to a device: dataclasses of tensors, numbers, and lists of such."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, Self, cast

import torch
from torch import Tensor


class Movable:
    """A dataclass whose tensors can be moved together. torch's loader pins what has a `pin_memory`."""

    def pin_memory(self) -> Self:
        """The same in memory that a GPU reads by itself."""
        return cast(Self, _mapped(self, Tensor.pin_memory))


def moved(batch: Any, device: torch.device) -> Any:
    """A batch on a device; a copy from pinned memory does not hold up whoever asked for it."""
    return _mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(_mapped(one, change) for one in value)
    if isinstance(value, Movable):
        assert is_dataclass(value)
        return replace(value, **{field.name: _mapped(getattr(value, field.name), change) for field in fields(value)})
    return value
