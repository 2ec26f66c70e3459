"""A plan of tensors -> safetensors files, written as the tensors come, with no more than one piece of one in memory.

The header of a file needs names, shapes and dtypes alone, so it goes first and every tensor to its place behind it. A
file gets its final name when it is whole and on the disk; an index says which tensor is where when there are several.
Knows nothing of models, and nothing of where the tensors come from.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from llava_engine.errors import ModelError
from llava_engine.files.atomic import storage_errors, write_text
from llava_engine.files.safetensors import DTYPE_NAMES

SHARD_BYTES = 2_000_000_000
"""A file's size at most, unless one tensor alone is larger. An interrupted run repeats no more than this."""

_WRITE_BYTES = 2**18
"""What one call writes. 16 MiB at once were four times slower on a Linux whose page cache then wants large pages."""


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor that will be written."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """What it takes in the file."""
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Shard:
    """One file to come.

    Attributes:
        file: its name.
        tensors: in the order of the plan.
        metadata: text for the header.
    """

    file: str
    tensors: tuple[PlannedTensor, ...]
    metadata: tuple[tuple[str, str], ...]

    @cached_property
    def header(self) -> bytes:
        """The file's first bytes: a length (8 bytes, little-endian) and JSON, padded with spaces to a multiple of 8."""
        table: dict[str, object] = {"__metadata__": dict(self.metadata)} if self.metadata else {}
        for tensor in self.tensors:
            start = self._starts[tensor.name]
            table[tensor.name] = {
                "dtype": DTYPE_NAMES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [start, start + tensor.bytes],
            }
        text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    @cached_property
    def _starts(self) -> dict[str, int]:
        """Where each tensor begins, behind the header: wide dtypes first, so that each is aligned to its width."""
        starts, end = {}, 0
        for tensor in sorted(self.tensors, key=lambda tensor: -tensor.dtype.itemsize):
            starts[tensor.name] = end
            end += tensor.bytes
        return starts

    @property
    def bytes(self) -> int:
        """The whole file."""
        return len(self.header) + sum(tensor.bytes for tensor in self.tensors)

    def place(self, name: str) -> int:
        """Where in the file a tensor begins."""
        return len(self.header) + self._starts[name]


def divide(
    plan: Iterable[PlannedTensor],
    shard_bytes: int = SHARD_BYTES,
    metadata: Mapping[str, str] | None = None,
    stem: str = "model",
) -> tuple[Shard, ...]:
    """The files that a plan becomes: filled in its order; the same plan gives the same files, byte for byte.

    Args:
        plan: all tensors.
        shard_bytes: how large a file's tensors may be together; a single larger tensor has a file of its own.
        metadata: text for every header, beside `format`.
        stem: how the files' names begin.

    Raises:
        ModelError: two tensors of one name, no tensors, or a dtype that safetensors lacks.
    """
    groups: list[list[PlannedTensor]] = []
    filled = 0
    names: set[str] = set()
    for tensor in plan:
        if tensor.name in names:
            raise ModelError(f"Two tensors are called {tensor.name}.", "Take the model's folder as it was published.")
        if tensor.dtype not in DTYPE_NAMES:
            raise ModelError(
                f"{tensor.name} is {tensor.dtype}, which safetensors can not hold.",
                "Take weights in float16, bfloat16 or float32.",
            )
        names.add(tensor.name)
        if not groups or filled + tensor.bytes > shard_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(tensor)
        filled += tensor.bytes
    if not groups:
        raise ModelError("There are no tensors to write.", "Take the model's folder complete.")
    texts = tuple({"format": "pt", **(metadata or {})}.items())
    if len(groups) == 1:
        return (Shard(f"{stem}.safetensors", tuple(groups[0]), texts),)
    return tuple(
        Shard(f"{stem}-{number:05}-of-{len(groups):05}.safetensors", tuple(group), texts)
        for number, group in enumerate(groups, 1)
    )


class ShardWriter:
    """Writes the tensors of a plan into a folder, in any order, though the plan's is the fastest.

    Use it in a `with` block: its end closes the files; `finish` completes the folder. Files that are there already
    under their final names with the very header of this plan are whole and are kept: `missing` names the rest.

    Args:
        folder: where to; it exists.
        shards: from `divide`.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard]) -> None:
        self.folder = folder
        self.shards = tuple(shards)
        self._open: dict[str, int] = {}  # file name -> descriptor
        self._background = ThreadPoolExecutor(1, thread_name_prefix="shard")
        self._completing: list[Future[None]] = []
        self._waiting = {
            shard.file: {tensor.name: tensor for tensor in shard.tensors}
            for shard in self.shards
            if not _is_whole(folder / shard.file, shard)
        }
        self._shard_of = {tensor.name: shard for shard in self.shards for tensor in shard.tensors}

    @property
    def missing(self) -> tuple[str, ...]:
        """The names not written yet, in the order of the plan."""
        return tuple(name for waiting in self._waiting.values() for name in waiting)

    def write(self, name: str, tensor: Tensor) -> None:
        """Write one tensor; see `write_pieces`."""
        planned = self._planned(name)
        if tuple(tensor.shape) != planned.shape:
            raise ValueError(f"{name}: planned {planned.shape}, got {tuple(tensor.shape)}")
        self.write_pieces(name, (tensor,))

    def write_pieces(self, name: str, pieces: Iterable[Tensor]) -> None:
        """Write one tensor in pieces, which follow each other as in its flattened form.

        Raises:
            StorageError: the disk is full, or may not be written to.
            ValueError: the name is not awaited, or dtype or size are not as planned.
        """
        planned = self._planned(name)
        shard = self._shard_of[name]
        with storage_errors(self.folder):
            descriptor = self._descriptor(shard)
            at = shard.place(name)
            end = at + planned.bytes
            for piece in pieces:
                if piece.dtype != planned.dtype:
                    raise ValueError(f"{name}: planned {planned.dtype}, got {piece.dtype}")
                for data in _bytes(piece):
                    if at + len(data) > end:
                        raise ValueError(f"{name}: more than the {planned.bytes} bytes planned")
                    at += _write_all(descriptor, data, at)
            if at != end:
                raise ValueError(f"{name}: {end - at} bytes of {planned.bytes} are missing")
            del self._waiting[shard.file][name]
            if not self._waiting[shard.file]:
                self._complete(shard)

    def finish(self) -> None:
        """Write the index, where there is more than one file.

        Raises:
            StorageError: the disk is full, or may not be written to.
            ValueError: tensors are missing.
        """
        if self.missing:
            raise ValueError(f"not written: {', '.join(self.missing[:5])}")
        with storage_errors(self.folder):
            self._await_names()
        if len(self.shards) == 1:
            return
        index = {
            "metadata": {"total_size": sum(tensor.bytes for shard in self.shards for tensor in shard.tensors)},
            "weight_map": {name: shard.file for name, shard in self._shard_of.items()},
        }
        stem = self.shards[0].file.rpartition("-00001-of-")[0]
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        write_text(self.folder / f"{stem}.safetensors.index.json", text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._background.shutdown()
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _planned(self, name: str) -> PlannedTensor:
        shard = self._shard_of.get(name)
        waiting = self._waiting.get(shard.file, {}) if shard else {}
        if name not in waiting:
            raise ValueError(f"{name} is not awaited: not planned, or written already")
        return waiting[name]

    def _descriptor(self, shard: Shard) -> int:
        if shard.file not in self._open:
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
            descriptor = os.open(self.folder / _part(shard.file), flags, 0o644)
            self._open[shard.file] = descriptor
            _reserve(descriptor, shard.bytes)
            _write_all(descriptor, memoryview(shard.header), 0)
        return self._open[shard.file]

    def _complete(self, shard: Shard) -> None:
        """Give a file its name while the next is written; but no more than one at a time waits for the disk."""
        self._await_names()
        del self._waiting[shard.file]
        self._completing.append(self._background.submit(self._give_name, shard, self._open.pop(shard.file)))

    def _give_name(self, shard: Shard, descriptor: int) -> None:
        """On the disk first, under its name then: a file with a final name is whole even after a power cut."""
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part = self.folder / _part(shard.file)
        part.chmod(0o644)
        part.replace(self.folder / shard.file)

    def _await_names(self) -> None:
        while self._completing:
            self._completing.pop().result()


def _part(file: str) -> str:
    return f"{file}.part"


def _is_whole(file: Path, shard: Shard) -> bool:
    try:
        with file.open("rb") as opened:
            return file.stat().st_size == shard.bytes and opened.read(len(shard.header)) == shard.header
    except OSError:
        return False


def _bytes(tensor: Tensor) -> Iterator[memoryview]:
    """A tensor's numbers as the file has them; nothing when it has none."""
    if tensor.numel():
        flat = tensor.detach().to("cpu").contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().data


def _reserve(descriptor: int, size: int) -> None:
    """Have the disk set the file's room aside, where it can: a full one says so now, and writing takes a third less."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise


def _write_all(descriptor: int, data: memoryview, at: int) -> int:
    """Write all of it, and give how many bytes it was. One call may write less than it was given."""
    os.lseek(descriptor, at, os.SEEK_SET)
    done = 0
    while done < len(data):
        done += os.write(descriptor, data[done : done + _WRITE_BYTES])
    return done
