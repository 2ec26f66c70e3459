"""The arithmetic of deltas, from files, in pieces: base + delta, model - base, and their hashes.

In the dtype that delta or model is stored in, the base rounded to it first, as in the original. Where the base has
fewer rows it is added to the top ones; what it lacks (projector, tower) is the delta's own. Writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llava_engine.checkpoints.delta_base import check_base
from llava_engine.checkpoints.delta_pairs import Pair, pairs
from llava_engine.checkpoints.delta_record import Corrections, Record, read_record
from llava_engine.checkpoints.files import TensorFiles, read_json, weight_files
from llava_engine.checkpoints.shards import PlannedTensor
from llava_engine.errors import ModelError

PIECE_BYTES = 16 * 2**20
"""How much of a tensor is in memory at once, of each side."""


@dataclass(frozen=True)
class Sums:
    """A base and a delta that fit, and their sums.

    Attributes:
        base: the language model's tensors.
        delta: the delta's.
        base_files: where they are.
        delta_files: where they are.
        pairs: the tensors of the result.
        record: what came with a delta of ours, if the base is the one it names.
        notes: what a person should know, a sentence each.
    """

    base: TensorFiles
    delta: TensorFiles
    base_files: tuple[Path, ...]
    delta_files: tuple[Path, ...]
    pairs: tuple[Pair, ...]
    record: Record | None
    notes: tuple[str, ...]

    @classmethod
    def open(cls, base: Path, delta: Path, *, force: bool) -> Sums:
        """Read headers, and a sample of the numbers.

        Raises:
            ModelError: they do not fit; with `force`, only when shapes do not.
        """
        base_files, delta_files = weights(base), weights(delta)
        ours, theirs = TensorFiles(base, base_files), TensorFiles(delta, delta_files)
        found = pairs(ours, theirs, "delta")
        record = read_record(delta)
        try:
            notes = [
                check_base(
                    ours,
                    theirs,
                    found,
                    recorded=record.base if record else None,
                    meant=record.meant if record else "",
                    base_config=read_json(base / "config.json"),
                    delta_config=read_json(delta / "config.json"),
                )
            ]
        except ModelError as error:
            if not force:
                raise
            notes = [f"Done all the same: {error.cause}"]
            record = None
        # A frequency's delta is zero: without the base's it is no frequency. Every reader computes them.
        empty = {pair.name for pair in found if pair.rotary and not pair.shared and not theirs.read(pair.name).any()}
        if empty:
            notes.append(
                "Rotary frequencies are left out: the base does not store them, and every reader computes them."
            )
        return cls(
            ours,
            theirs,
            tuple(base_files),
            tuple(delta_files),
            tuple(pair for pair in found if pair.name not in empty),
            record,
            tuple(notes),
        )

    def plan(self) -> Iterator[PlannedTensor]:
        """The tensors of the result."""
        return (PlannedTensor(pair.name, pair.stored.shape, pair.stored.dtype) for pair in self.pairs)

    def pieces(self, pair: Pair) -> Iterator[Tensor]:
        """The sum of one tensor, flat, piece by piece."""
        for start, piece in _numbered(self.delta, pair):
            total = piece.clone()  # the piece itself is the file's
            if start < pair.shared:
                shared = _piece(self.base, pair.name, start, min(start + len(total), pair.shared))
                total[: len(shared)] += shared.to(total.dtype)
                if self.record:
                    self.record.correct(pair.name, total, start)
            yield total


def differences(
    base: TensorFiles, target: TensorFiles, pair: Pair, corrections: Corrections, digest: Any
) -> Iterator[Tensor]:
    """target - base of one tensor, piece by piece; notes what addition will not give back, and hashes the target."""
    for start, piece in _numbered(target, pair):
        wanted = piece.clone()
        digest.update(wanted.view(torch.uint8).numpy().data)
        change = wanted.clone()
        if start < pair.shared:
            shared = _piece(base, pair.name, start, min(start + len(wanted), pair.shared)).to(wanted.dtype)
            change[: len(shared)] -= shared
            corrections.note(pair.name, pair.numbers, wanted[: len(shared)], change[: len(shared)] + shared, start)
        yield change


def _numbered(files: TensorFiles, pair: Pair) -> Iterator[tuple[int, Tensor]]:
    """A tensor's pieces, flat, each with where it begins. What is mapped is let go from piece to piece."""
    step = max(PIECE_BYTES // pair.stored.dtype.itemsize, 1)
    for start in range(0, max(pair.numbers, 1), step):  # one empty piece of an empty tensor
        yield start, _piece(files, pair.name, start, start + step)


def _piece(files: TensorFiles, name: str, start: int, stop: int) -> Tensor:
    return files.read(name).reshape(-1)[start:stop]


def flat_pieces(files: TensorFiles, pair: Pair) -> Iterator[Tensor]:
    """One tensor as it is stored, flat, piece by piece."""
    return (piece for _, piece in _numbered(files, pair))


def hash_of(pieces: Iterable[Tensor]) -> str:
    """SHA-256 of the bytes, as a file has them."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def weights(folder: Path) -> list[Path]:
    """The weight files of a folder; raises `ModelError` when there are none."""
    if not folder.is_dir():
        raise ModelError(f"There is no model folder {folder}.", "Give a folder that holds config.json and weights.")
    return weight_files(folder)
