"""Runs of numbers out of weight files, by plain reads: for work that passes through a whole model once.

Mapping a file costs a page fault for every few pages and counts as this process's memory; a plain read of the same
bytes was six times faster. Where a tensor lies is in a safetensors file's header; in a `.bin` it follows from its zip
directory, and where it does not, the mapping is used. Knows nothing of models.
"""

from __future__ import annotations

import json
import zipfile
from collections import deque
from collections.abc import Mapping
from io import FileIO
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import TensorFiles

_LOCAL_HEADER = 30  # bytes of a zip entry before its name


class FlatReader:
    """The tensors of some files as flat runs of numbers. Not for two threads at once.

    Args:
        files: which.
        lasting: a run's memory is used again after so many more runs, which saves the system handing out new memory all
            the time; 0 gives each run its own for good.
    """

    def __init__(self, files: TensorFiles, lasting: int = 0) -> None:
        self.files = files
        self._memory: deque[Tensor] = deque(maxlen=lasting)
        self._opened: dict[Path, FileIO] = {}
        self._places: dict[Path, Mapping[str, int]] = {}

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """The numbers of a flattened tensor from `start` to before `stop`, free to be changed.

        Raises:
            ModelError: the file has become shorter, or can not be read.
        """
        stored = self.files.tensors[name]
        if stored.file not in self._places:
            self._places[stored.file] = _places(stored.file)
        place = self._places[stored.file].get(name)
        if place is None:
            return self.files.read(name).reshape(-1)[start:stop].clone()
        numbers = self._room((stop - start) * stored.dtype.itemsize).view(stored.dtype)
        if len(numbers):
            try:
                self._fill(stored.file, place + start * stored.dtype.itemsize, numbers)
            except OSError as error:
                raise ModelError(f"{stored.file} can not be read: {error.strerror or error}.") from error
        return numbers

    def _fill(self, file: Path, place: int, numbers: Tensor) -> None:
        if file not in self._opened:
            self._opened[file] = file.open("rb", buffering=0)
        opened = self._opened[file]
        opened.seek(place)
        left = memoryview(numbers.view(torch.uint8).numpy().data)
        while len(left):
            got = opened.readinto(left)
            if not got:
                raise ModelError(f"{file} ends too early.", "Download or copy it again.")
            left = left[got:]

    def _room(self, size: int) -> Tensor:
        """Memory for so many bytes."""
        full = len(self._memory) == self._memory.maxlen
        room = self._memory.popleft() if full and self._memory else torch.empty(size, dtype=torch.uint8)
        if len(room) < size:
            room = torch.empty(size, dtype=torch.uint8)
        self._memory.append(room)
        return room[:size]

    def close(self) -> None:
        """Close the files."""
        for opened in self._opened.values():
            opened.close()
        self._opened.clear()


def _places(file: Path) -> Mapping[str, int]:
    """Where each tensor's numbers begin in a file; those that are not in one run are missing."""
    return _places_in_safetensors(file) if file.suffix == ".safetensors" else _places_in_bin(file)


def _places_in_safetensors(file: Path) -> Mapping[str, int]:
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        table = json.loads(opened.read(length))
    return {name: 8 + length + entry["data_offsets"][0] for name, entry in table.items() if name != "__metadata__"}


def _places_in_bin(file: Path) -> Mapping[str, int]:
    """From the order in which the file's storages are mapped, which is the order in which the zip has them."""
    if not zipfile.is_zipfile(file):  # the form before torch 1.6
        return {}
    tensors: Mapping[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors.values()}
    mapped = sorted((pointer, size) for pointer, size in storages.items() if size)
    stored = sorted(_entries(file))
    if [size for _, size in mapped] != [size for _, size in stored] or any(
        after[0] - before[0] != there[0] - here[0]
        for (before, after), (here, there) in zip(pairwise(mapped), pairwise(stored), strict=True)
    ):
        return {}
    begins = {pointer: place for (pointer, _), (place, _) in zip(mapped, stored, strict=True)}
    return {
        name: begins[tensor.untyped_storage().data_ptr()] + int(tensor.storage_offset()) * tensor.dtype.itemsize
        for name, tensor in tensors.items()
        if tensor.numel() and tensor.is_contiguous()
    }


def _entries(file: Path) -> list[tuple[int, int]]:
    """Where the numbers of each storage begin, and their size; compressed ones can not be read in place."""
    found = []
    with zipfile.ZipFile(file) as archive, file.open("rb") as opened:
        for entry in archive.infolist():
            if "/data/" in entry.filename and entry.file_size:
                opened.seek(entry.header_offset + 26)
                lengths = opened.read(4)  # of the name and of the extra field, here; the directory may have others
                name, extra = (int.from_bytes(lengths[at : at + 2], "little") for at in (0, 2))
                packed = entry.compress_type != zipfile.ZIP_STORED
                found.append((entry.header_offset + _LOCAL_HEADER + name + extra, -1 if packed else entry.file_size))
    return found
