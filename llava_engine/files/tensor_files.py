"""The tensors of a checkpoint's files, safely: names and shapes first, tensors one at a time.

Reads safetensors and `.bin`, alone or in shards; which a file is its first bytes tell. The table that says where each
tensor's numbers lie is read and checked first (safetensors.py, bins.py); the numbers are mapped when they are asked
for. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from llava_engine.errors import ModelError
from llava_engine.files.bins import ZIP, read_bin
from llava_engine.files.foreign import refuse_foreign_file
from llava_engine.files.safetensors import read_safetensors
from llava_engine.files.safety import check_own_file
from llava_engine.files.tensor_table import MAX_TABLE_BYTES, TensorPlace, TensorTable
from llava_engine.files.weight_files import weight_files

# How much of the files may stay mapped into memory after it was read.
MAPPED_BYTES = 2**25
_HEADER_START = slice(8, 9)  # of a safetensors file: behind the header's length, an opening brace


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor is, its shape, and the dtype that it is stored in."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype


class TensorSource(Protocol):
    """Named tensors that are read one at a time: files, or files seen under other names, or with an adapter in them."""

    folder: Path

    @property
    def tensors(self) -> Mapping[str, StoredTensor]: ...

    def read(self, name: str) -> Tensor: ...


class TensorFiles:
    """All tensors of a folder, by name.

    Raises:
        ModelError: there are no weight files, one is missing, truncated, or holds something other than tensors.
    """

    def __init__(self, folder: Path, files: Sequence[Path] | None = None) -> None:
        """Look at the model's weight files in a folder, or at these."""
        self.folder = folder
        self.tensors: dict[str, StoredTensor] = {}
        self._places: dict[str, TensorPlace] = {}
        self._stamps: dict[Path, tuple[int, ...]] = {}
        self._maps: dict[Path, Tensor] = {}
        self._mapped = 0
        left = MAX_TABLE_BYTES
        for file in weight_files(folder) if files is None else files:
            table = _table(file, left)
            self._stamps[file] = _stamp(file)
            self._map(file)  # from here on it is this file's content, whatever takes its name
            left -= table.bytes
            for name, place in table.places.items():
                if name in self.tensors:
                    raise ModelError(
                        f"{folder.name}: tensor {name} is in {self.tensors[name].file.name} and in {file.name}.",
                        "Take out the file that does not belong there.",
                    )
                self.tensors[name] = StoredTensor(file, place.shape, place.dtype)
                self._places[name] = place

    def read(self, name: str) -> Tensor:
        """One tensor, as stored. Raises `ModelError` when the file has changed since."""
        stored, place = self.tensors[name], self._places[name]
        numbers = self._map(stored.file)[place.start : place.start + place.bytes]
        if place.start % stored.dtype.itemsize:
            numbers = numbers.clone()  # torch takes no view of numbers that are not aligned
        numbers = numbers.view(stored.dtype)
        if place.strides is None or 0 in place.shape:
            tensor = numbers.reshape(place.shape)
        else:
            tensor = numbers.as_strided(place.shape, place.strides).contiguous()
        self._mapped += tensor.nbytes
        if self._mapped > MAPPED_BYTES:
            # Pages of a mapped file count as this process's memory until the mapping goes: begin a new one next time.
            self._maps.clear()
            self._mapped = 0
        return tensor

    def place(self, name: str) -> TensorPlace:
        """Where a tensor's numbers lie in its file."""
        return self._places[name]

    def check_unchanged(self, file: Path) -> None:
        """Raises `ModelError` when a file is another one by now: the places of its tensors would be wrong."""
        if _stamp(file) != self._stamps[file]:
            raise ModelError(f"{file} has changed while it was read.", "Begin again.")

    def _map(self, file: Path) -> Tensor:
        """The bytes of a whole file."""
        if file not in self._maps:
            self.check_unchanged(file)
            try:
                self._maps[file] = torch.from_file(str(file), shared=False, size=file.stat().st_size, dtype=torch.uint8)
            except (OSError, RuntimeError) as error:
                why = str(error).splitlines()[0]
                raise ModelError(f"{file} can not be read: {why}.", "Download or copy it again.") from None
        return self._maps[file]


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError as error:
        raise ModelError(f"{file} can not be read: {error.strerror}.", "Check its permissions.") from None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _table(file: Path, most: int) -> TensorTable:
    check_own_file(file.parent, file)
    try:
        refuse_foreign_file(file)
        with file.open("rb") as opened:
            start = opened.read(_HEADER_START.stop)
        safe = start[_HEADER_START] == b"{" or (file.suffix == ".safetensors" and not start.startswith(ZIP))
        return (read_safetensors if safe else read_bin)(file, most)
    except OSError as error:
        raise ModelError(f"{file} can not be read: {error.strerror or error}.", "Check its permissions.") from None
