"""Runs of numbers out of weight files, by plain reads: for work that passes through a whole model once.

Mapping a file costs a page fault for every few pages and counts as this process's memory; a plain read of the same
bytes was six times faster. Knows nothing of models.
"""

from __future__ import annotations

from collections import deque
from io import FileIO
from pathlib import Path

import torch
from torch import Tensor

from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import TensorFiles


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

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """The numbers of a flattened tensor from `start` to before `stop`, free to be changed.

        Raises:
            ModelError: the file has become shorter, or can not be read.
        """
        stored, place = self.files.tensors[name], self.files.place(name)
        if place.strides is not None:
            return self.files.read(name).reshape(-1)[start:stop].clone()
        numbers = self._room((stop - start) * stored.dtype.itemsize).view(stored.dtype)
        if len(numbers):
            try:
                self._fill(stored.file, place.start + start * stored.dtype.itemsize, numbers)
            except OSError as error:
                raise ModelError(f"{stored.file} can not be read: {error.strerror or error}.") from error
        return numbers

    def _fill(self, file: Path, place: int, numbers: Tensor) -> None:
        if file not in self._opened:
            self.files.check_unchanged(file)
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
