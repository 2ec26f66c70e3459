"""What weights of another family take, before one is read: names and shapes of a folder's files in, `Plan` out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from llava_engine.backends.transformers.recognition import ForeignFolder
from llava_engine.files.tensor_files import TensorFiles
from llava_engine.model.free_memory import limit_for
from llava_engine.model.placement import choose_dtype, first_device
from llava_engine.opening import Placement
from llava_engine.plan import Part, Place, Plan, Remedy


def plan(found: ForeignFolder, weights: Sequence[Path], placement: Placement, context: int | None) -> tuple[Plan, int]:
    """The plan of the weights, and how many numbers they are. Keys and values come on top as a conversation grows.

    Raises:
        DeviceError: this machine lacks the device.
        ModelError: a file is broken.
    """
    device = torch.device(first_device(placement.device))
    counts: Counter[torch.dtype] = Counter()
    for one in TensorFiles(found.folder, weights).tensors.values():
        counts[one.dtype] += math.prod(one.shape)
    floats = [kind for kind in counts if kind.is_floating_point]
    stored = max(floats, key=counts.__getitem__, default=torch.float32)
    place = Place(str(device), limit_for(device, {}))

    def planned(dtype: torch.dtype) -> Plan:
        size = sum(
            count * (dtype if kind.is_floating_point and not found.quantized else kind).itemsize
            for kind, count in counts.items()
        )
        name = str(dtype).removeprefix("torch.")
        return Plan((place,), (Part("layers", 0, size),), name, found.quantized or "none", context or 0)

    wanted = planned(choose_dtype(placement.dtype, [device], stored, counts.total()))
    half = planned(torch.bfloat16)
    if not wanted.fits and half.fits:
        wanted = replace(wanted, remedies=(Remedy("--dtype bfloat16", half.total),))
    return wanted, counts.total()
