"""The arithmetic of deltas, from files, in pieces: base + delta, model - base, and their hashes.

In the dtype that delta or model is stored in, the base rounded to it first, as in the original. Where the base has
fewer rows it is added to the top ones; what it lacks (projector, tower) is the delta's own. Writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llava_engine.checkpoints.delta.base import check_delta_base
from llava_engine.checkpoints.delta.pairs import Pair, pairs
from llava_engine.checkpoints.delta.record import Corrections, Record, read_record
from llava_engine.checkpoints.plain_weights import refuse_quantized
from llava_engine.errors import ModelError
from llava_engine.files.ahead import DEPTH
from llava_engine.files.flat import FlatReader
from llava_engine.files.json import read_json
from llava_engine.files.shards import PlannedTensor
from llava_engine.files.tensor_files import TensorFiles
from llava_engine.files.weight_files import weight_files

PIECE_BYTES = 2**22
"""How much is computed at once: a piece should fit the processor's cache."""

_LASTING = DEPTH + 3
"""How many pieces there are at once: those ahead, one in the hand that makes them, one in the hand that takes them, and
the next of a tensor, which is looked at before the last is let go."""


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
        refuse_quantized(base, read_json(base / "config.json"), ours)
        found = pairs(ours, theirs, "delta")
        record = read_record(delta)
        try:
            notes = [
                check_delta_base(
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

    def pieces(self, wanted: Container[str]) -> Iterator[tuple[str, Tensor]]:
        """The sums of the wanted tensors, each with its name, flat and piece by piece."""
        with closing(FlatReader(self.base, 1)) as base, closing(FlatReader(self.delta, _LASTING)) as delta:
            for pair in (pair for pair in self.pairs if pair.name in wanted):
                for start, stop in ranges(pair):
                    total = delta.read(pair.name, start, stop)
                    if start < pair.shared:
                        shared = base.read(pair.name, start, min(stop, pair.shared))
                        total[: len(shared)] += shared.to(total.dtype)
                        if self.record:
                            self.record.correct(pair.name, total, start)
                    yield pair.name, total


def differences(
    base: TensorFiles, target: TensorFiles, found: Sequence[Pair], corrections: Corrections, digests: Mapping[str, Any]
) -> Iterator[tuple[str, Tensor]]:
    """target - base of all tensors, each with its name, flat and piece by piece.

    Args:
        base: a language model.
        target: a finished model.
        found: from `pairs`.
        corrections: is told what addition will not give back.
        digests: for each name, a hash that is updated with the target's bytes.
    """
    with closing(FlatReader(base, 1)) as ours, closing(FlatReader(target, 1)) as theirs:
        for pair in found:
            for start, stop in ranges(pair):
                wanted = theirs.read(pair.name, start, stop)
                digests[pair.name].update(wanted.view(torch.uint8).numpy().data)
                change = wanted.clone()
                if start < pair.shared:
                    shared = ours.read(pair.name, start, min(stop, pair.shared)).to(wanted.dtype)
                    change[: len(shared)] -= shared
                    got = change[: len(shared)] + shared
                    corrections.note(pair.name, pair.numbers, wanted[: len(shared)], got, start)
                yield pair.name, change


def ranges(pair: Pair) -> Iterator[tuple[int, int]]:
    """The pieces of a tensor, from and to; one of nothing for an empty tensor."""
    step = PIECE_BYTES // pair.stored.dtype.itemsize
    return ((start, min(start + step, pair.numbers)) for start in range(0, max(pair.numbers, 1), step))


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
