"""The table of a safetensors file, checked against the file's own size before anything is built of it.

The format: a length (8 bytes, little-endian), so many bytes of JSON, then the numbers of all tensors, without gaps.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import torch

from llava_engine.errors import ModelError
from llava_engine.files.json import parse_json
from llava_engine.files.tensor_table import TensorPlace, TensorTable

DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What the format calls a dtype."""

_READ = {name: dtype for dtype, name in DTYPE_NAMES.items() if not name.startswith("F8")}
_LENGTH = 8  # bytes before the header
_MOST_DIMENSIONS = 8  # of a tensor; torch's own limit is 64, and a model's have at most 4


def read_safetensors(file: Path, most: int) -> TensorTable:
    """Where a file's tensors are.

    Args:
        file: a safetensors file.
        most: how large its header may be.

    Raises:
        ModelError: it is cut off, its header contradicts itself or the file's size, or is larger; a dtype that we do
            not read.
        OSError: it can not be read.
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(_LENGTH), "little")
        if size < _LENGTH or length > size - _LENGTH:
            raise _broken(file, "it is cut off")
        if length > most:
            raise ModelError(f"{file} names more tensors than any model has.", "Take the model from another source.")
        header = opened.read(length)
    table = parse_json(file, header)
    table.pop("__metadata__", None)
    places = {name: _place(file, name, entry, _LENGTH + length) for name, entry in table.items()}
    end = _LENGTH + length
    for name, place in sorted(places.items(), key=lambda item: (item[1].start, item[1].bytes)):
        if place.start != end:
            raise _broken(file, f"{name} is not where the tensor before it ends")
        end += place.bytes
    if end != size:
        raise _broken(file, f"its tensors end at byte {end:,}, and it has {size:,}")
    return TensorTable(places, length)


def _place(file: Path, name: str, entry: Any, begin: int) -> TensorPlace:
    try:
        kind, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise _broken(file, f"its header does not say where {name} is") from None
    if not isinstance(kind, str) or kind not in _READ:
        raise ModelError(
            f"{file} holds tensors of type {kind}, which we do not read.",
            "Take weights in float32, float16 or bfloat16.",
        )
    numbers = [*shape, start, stop] if isinstance(shape, list) else [None]
    if len(numbers) > _MOST_DIMENSIONS + 2 or not all(type(n) is int and 0 <= n < 2**63 for n in numbers):
        raise _broken(file, f"its header has no shape for {name}")
    if prod(shape) * _READ[kind].itemsize != stop - start:
        raise _broken(file, f"{name} has not the size that its shape takes")
    return TensorPlace(tuple(shape), _READ[kind], begin + start)


def _broken(file: Path, why: str) -> ModelError:
    return ModelError(f"{file} is not a whole safetensors file: {why}.", "Download or copy it again.")
