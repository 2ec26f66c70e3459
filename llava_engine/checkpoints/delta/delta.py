"""Deltas: `apply` gives base + delta as a folder, `make` model - base, `verify` the hashes of the sum.

From files to files, tensor by tensor and piece by piece: no model is built, and memory holds a few pieces at any size.
What does not fit is refused before anything is written; what was cut off goes on. Knows nothing of who asks.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

from torch import Tensor

from llava_engine.checkpoints.delta.base import sample_hashes
from llava_engine.checkpoints.delta.pairs import pairs
from llava_engine.checkpoints.delta.record import Corrections, write_record
from llava_engine.checkpoints.delta.sums import Sums, differences, hash_of, ranges, weights
from llava_engine.checkpoints.save import COMPANIONS
from llava_engine.contract import LoadProgress
from llava_engine.errors import ModelError, StorageError
from llava_engine.files.ahead import ahead
from llava_engine.files.drafts import check_space, check_target, draft_folder, stamps, unfinished
from llava_engine.files.flat import FlatReader
from llava_engine.files.json import read_json
from llava_engine.files.safety import copy_own_file, own_files
from llava_engine.files.shards import SHARD_BYTES, PlannedTensor, Shard, ShardWriter, divide
from llava_engine.files.tensor_files import TensorFiles
from llava_engine.hub.cache import snapshot_or_folder

Progress = Callable[[LoadProgress], None]


@dataclass(frozen=True)
class Written:
    """What was made.

    Attributes:
        folder: where.
        tensors: how many.
        bytes: of all weights.
        notes: what a person should know, a sentence each.
    """

    folder: Path
    tensors: int
    bytes: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Verified:
    """What base and delta give.

    Attributes:
        sha256: of all tensors: of the lines `NAME DTYPE SHAPE SHA256`, sorted; equal models have equal ones.
        against: with what it was compared: a folder, the hashes that came with the delta, or nothing.
        differing: the tensors that differ, are missing or too many.
        tensors: how many there are.
        notes: what a person should know, a sentence each.
    """

    sha256: str
    against: Literal["target", "record"] | None
    differing: tuple[str, ...]
    tensors: int
    notes: tuple[str, ...]


def apply(
    base: Path,
    delta: Path,
    target: Path,
    *,
    resume: bool = False,
    force: bool = False,
    shard_bytes: int = SHARD_BYTES,
    on_progress: Progress | None = None,
) -> Written:
    """Write base + delta as a folder that loads at once.

    Args:
        base: a language model's folder, `.bin` or safetensors.
        delta: likewise.
        target: the folder to come, written as safetensors.
        resume: go on after a run that was cut off.
        force: apply to a base that fits in shape only.
        shard_bytes: how large a file may be.
        on_progress: called with bytes written and bytes in all.

    Raises:
        ModelError: the base is not the delta's, or a folder can not be read; nothing is written.
        StorageError: the place is taken, the disk too small or read-only.
    """
    base, delta = snapshot_or_folder(base), snapshot_or_folder(delta)
    _check_apart(target, base, delta)
    sums = Sums.open(base, delta, force=force)
    shards = divide(sums.plan(), shard_bytes)
    made_from = {"apply": [stamps(sums.base_files), stamps(sums.delta_files)], "shard_bytes": shard_bytes}
    _check_space(target, shards)
    with draft_folder(target, made_from, resume=resume) as draft, ShardWriter(draft, shards) as writer:
        missing = set(writer.missing)
        progress = _Meter("adding", shards, missing, on_progress)
        with ahead(sums.pieces(missing)) as stream:
            for name, parts in progress.tensors(stream):
                writer.write_pieces(name, parts)
        writer.finish()
        _copy_companions(delta, draft)
    return Written(target, len(sums.pairs), progress.total, sums.notes)


def make(
    base: Path,
    target: Path,
    delta: Path,
    *,
    resume: bool = False,
    shard_bytes: int = SHARD_BYTES,
    on_progress: Progress | None = None,
) -> Written:
    """Write target - base as a folder that anybody may have; `apply` gives target back, bit for bit.

    Args:
        base: a language model's folder.
        target: a finished model's, made from that base.
        delta: the folder to come.
        resume: go on after a run that was cut off.
        shard_bytes: how large a file may be.
        on_progress: called with bytes written and bytes in all.

    Raises:
        ModelError, StorageError: as `apply`.
    """
    base, target = snapshot_or_folder(base), snapshot_or_folder(target)
    _check_apart(delta, base, target)
    described = _described(base)
    read_json(target / "config.json")  # it goes along: a broken one is said now, not when all is written
    base_files, target_files = weights(base), weights(target)
    ours, theirs = TensorFiles(base, base_files), TensorFiles(target, target_files)
    found = pairs(ours, theirs, "target")
    shards = divide((PlannedTensor(pair.name, pair.stored.shape, pair.stored.dtype) for pair in found), shard_bytes)
    made_from = {"make": [stamps(base_files), stamps(target_files)], "shard_bytes": shard_bytes}
    _check_space(delta, shards)
    with draft_folder(delta, made_from, resume=resume) as draft, ShardWriter(draft, shards) as writer:
        missing = set(writer.missing)
        progress = _Meter("subtracting", shards, {pair.name for pair in found}, on_progress)
        corrections = Corrections(draft / "corrections")
        digests = {pair.name: hashlib.sha256() for pair in found}
        with ahead(differences(ours, theirs, found, corrections, digests)) as stream:
            for name, parts in progress.tensors(stream):
                if name in missing:
                    writer.write_pieces(name, parts)
                else:  # written by an earlier run; its record was not
                    deque(parts, maxlen=0)
        writer.finish()
        finished = {name: digest.hexdigest() for name, digest in digests.items()}
        write_record(draft, corrections, sample_hashes(ours, found), described, finished)
        _copy_companions(target, draft)
    return Written(delta, len(found), progress.total, corrections.notes(sum(pair.numbers for pair in found)))


def verify(
    base: Path,
    delta: Path,
    target: Path | None = None,
    *,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Verified:
    """Hash base + delta without writing, and compare with a target, or with what the delta says it gives.

    Raises:
        ModelError: as `apply`.
    """
    sums = Sums.open(snapshot_or_folder(base), snapshot_or_folder(delta), force=force)
    made = TensorFiles(target, weights(target)) if target else None
    shards = divide(sums.plan())
    progress = _Meter("verifying", shards, {pair.name for pair in sums.pairs}, on_progress)
    found = {pair.name: pair for pair in sums.pairs}
    lines, differing = [], []
    with ahead(sums.pieces(found)) as stream, closing(FlatReader(made or sums.delta)) as flat:
        for name, parts in progress.tensors(stream):
            digest = hash_of(parts)
            dtype, shape = found[name].stored.dtype, found[name].stored.shape
            lines.append(f"{name} {dtype} {list(shape)} {digest}\n")
            if made:
                stored = made.tensors.get(name)
                same = stored is not None and (stored.dtype, stored.shape) == (dtype, shape)
                if not same or hash_of(flat.read(name, *part) for part in ranges(found[name])) != digest:
                    differing.append(name)
            elif sums.record and sums.record.finished.get(name) != digest:
                differing.append(name)
    if made:
        differing += made.tensors.keys() - found.keys()
    return Verified(
        hashlib.sha256("".join(sorted(lines)).encode()).hexdigest(),
        "target" if made else "record" if sums.record else None,
        tuple(differing),
        len(sums.pairs),
        sums.notes,
    )


class _Meter:
    """Bytes done of bytes in all, told as pieces pass by."""

    def __init__(self, stage: str, shards: Sequence[Shard], missing: set[str], tell: Progress | None) -> None:
        sizes = {tensor.name: tensor.bytes for shard in shards for tensor in shard.tensors}
        self.total = sum(sizes.values())
        self._done = sum(size for name, size in sizes.items() if name not in missing)
        self._stage = stage
        self._tell = tell

    def tensors(self, stream: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Iterator[Tensor]]]:
        """Pieces that follow each other, one tensor after the other; each must be taken before the next."""
        for name, parts in groupby(stream, key=itemgetter(0)):
            yield name, self._count(piece for _, piece in parts)

    def _count(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        for piece in pieces:
            yield piece
            self._done += piece.nbytes
            if self._tell:
                self._tell(LoadProgress(self._stage, self._done, self.total))


def _check_apart(made: Path, *read: Path) -> None:
    resolved = [folder.resolve() for folder in read]
    if made.resolve() in resolved:
        raise StorageError(f"{made} would be read and written at once.", "Choose another folder for the result.")
    if len(set(resolved)) < len(resolved):
        raise ModelError(f"{read[0]} was given twice.", "A model and its base are two folders.")
    check_target(made)


def _check_space(target: Path, shards: Sequence[Shard]) -> None:
    draft = unfinished(target)
    needed = sum(shard.bytes for shard in shards if not (draft / shard.file).exists())
    check_space(target, needed)


def _copy_companions(source: Path, folder: Path) -> None:
    for file in own_files(source, ("config.json", *COMPANIONS)):
        copy_own_file(file, folder / file.name)


def _described(base: Path) -> str:
    """A base in words, from its config: for the person who has another."""
    config = read_json(base / "config.json")
    keys = (("num_hidden_layers", "layers"), ("hidden_size", "wide"), ("vocab_size", "rows"))
    more = (("max_position_embeddings", "positions"),)
    words = [f"{config[key]:,} {word}" for key, word in keys + more if isinstance(config.get(key), int)]
    name = config.get("_name_or_path")
    return ", ".join([*([name] if isinstance(name, str) and name else []), *words])
