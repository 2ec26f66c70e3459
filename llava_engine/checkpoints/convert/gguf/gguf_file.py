"""A GGUF file as values: keys, and tensors that are read as they are written, so that memory holds one of them.

The format is ggml-org/llama.cpp's (docs/gguf.md in ggml); the `gguf` package writes it. Knows no models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor

from llava_engine.errors import ModelError
from llava_engine.files.atomic import replaced_file

Value = str | bool | int | float | list[str] | list[int] | list[float]

# ggml-common's enum llama_ftype: what most of a file's matrices are in.
FILE_TYPES = {torch.float32: 0, torch.float16: 1}
_NUMPY: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.float16: np.dtype(np.float16),
}


@dataclass(frozen=True)
class GgufTensor:
    """A tensor to be written.

    Attributes:
        name: llama.cpp's for it.
        shape: rows first, as torch has it; GGUF turns it round.
        dtype: float32 or float16.
        read: gives it, in any dtype.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        """What it takes in the file."""
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class GgufFile:
    """A file to be written.

    Attributes:
        architecture: which of llama.cpp's programs runs it.
        keys: all else that it says: an int is written as uint32, a float as float32.
        tensors: in the order of the file.
    """

    architecture: str
    keys: Mapping[str, Value]
    tensors: tuple[GgufTensor, ...]

    @property
    def bytes(self) -> int:
        """What its tensors take."""
        return sum(tensor.bytes for tensor in self.tensors)


def tensor(name: str, shape: tuple[int, ...], dtype: torch.dtype, read: Callable[[], Tensor]) -> GgufTensor:
    """A tensor in the dtype that llama.cpp takes it in: what is no matrix, as norms and biases, is float32."""
    return GgufTensor(name, shape, dtype if len(shape) > 1 else torch.float32, read)


def write(file: GgufFile, path: Path, on_bytes: Callable[[int], None]) -> None:
    """Write a file, tensor by tensor; it has its name when it is whole.

    Args:
        file: what it will be.
        path: where to.
        on_bytes: called with the size of each tensor when it is written.

    Raises:
        ModelError: a tensor has numbers that float16 can not hold.
        StorageError: the disk is full, or may not be written to.
    """
    with replaced_file(path) as part:
        writer = gguf.GGUFWriter(part, file.architecture)
        try:
            for key, value in file.keys.items():
                _add(writer, key, value)
            for each in file.tensors:
                writer.add_tensor_info(each.name, each.shape, _NUMPY[each.dtype], each.bytes)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for each in file.tensors:
                writer.write_tensor_data(_numbers(each))
                on_bytes(each.bytes)
        finally:
            writer.close()


def _add(writer: gguf.GGUFWriter, key: str, value: Value) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)


def _numbers(planned: GgufTensor) -> np.ndarray[Any, Any]:
    before = planned.read()
    if tuple(before.shape) != planned.shape:
        raise ValueError(f"{planned.name}: planned {planned.shape}, got {tuple(before.shape)}")
    after = before.to(planned.dtype)
    if planned.dtype == torch.float16 and not _finite(after) and _finite(before):
        raise ModelError(f"{planned.name} has numbers too large for float16.", "Use --type f32.")
    numbers: np.ndarray[Any, Any] = after.contiguous().numpy()
    return numbers


def _finite(numbers: Tensor) -> bool:
    """Whether all are, without another tensor as large in memory."""
    return all(torch.isfinite(each) for each in torch.aminmax(numbers))
