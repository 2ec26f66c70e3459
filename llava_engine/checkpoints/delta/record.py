"""What `make` writes beside a delta, so that `apply` gives the finished model bit for bit and knows its base.

Subtracting in float16 loses bits where a weight is much smaller than its base's (|b| > 2|t|; for a fine-tune that moves
weights by 1 % of their spread, 0.3 % of them; by 3 %, 1 %). The delta's own tensors stay exactly what the original's
make_delta writes, and its apply reads them as ever, to its own rounding. Where b + (t - b) is not t, the place and t
itself are stored in files of their own, `exact*.safetensors`, that other readers do not look at: `NAME.places` (int32,
or int64 in tensors of 2^31 numbers and more; ascending, in the flattened tensor) and `NAME.values`. That is 6 bytes for
each such float16: 1 % of them cost 3 % of the delta's size. `delta.json` holds hashes of a sample of the base and a
SHA-256 of each finished tensor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.files.safety import check_own_file
from llava_engine.files.shards import PlannedTensor, ShardWriter, divide
from llava_engine.files.tensor_files import TensorFiles

NOTE = "delta.json"
STEM = "exact"
_FORMAT = 1
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_PIECE = 2**20


@dataclass(frozen=True)
class Record:
    """What came with a delta of ours.

    Attributes:
        base: hash of a sample by tensor (base.py).
        meant: the base in words.
        finished: SHA-256 of each finished tensor's bytes.
        exact: the corrections; None when no number needs one.
    """

    base: Mapping[str, str]
    meant: str
    finished: Mapping[str, str]
    exact: TensorFiles | None

    def correct(self, name: str, piece: Tensor, start: int) -> None:
        """Set the numbers of a piece that addition did not give exactly, in place.

        Args:
            name: the tensor that the piece is of.
            piece: flat; the sum of base and delta.
            start: where in the flattened tensor the piece begins.

        Raises:
            ModelError: the corrections are not for this tensor.
        """
        if self.exact is None or f"{name}.places" not in self.exact.tensors:
            return
        places, values = self.exact.read(f"{name}.places"), self.exact.read(f"{name}.values")
        first, last = torch.searchsorted(places, torch.tensor([start, start + len(piece)], dtype=places.dtype)).tolist()
        inside = places[first:last].long() - start
        if len(inside) and not 0 <= int(inside.min()) <= int(inside.max()) < len(piece):
            raise _broken(self.exact.folder)
        piece[inside] = values[first:last]


def read_record(delta: Path) -> Record | None:
    """What came with a delta; None when it is somebody else's.

    Raises:
        ModelError: it is broken, or of a later form.
    """
    if not (delta / NOTE).is_file():
        return None
    check_own_file(delta, delta / NOTE)
    content = read_json(delta / NOTE)
    if content.get("format") != _FORMAT:
        raise ModelError(f"{delta / NOTE} is of a form that this version does not know.", "Use a newer llava.")
    base, finished, corrected = (content.get(key) for key in ("base", "finished", "corrected"))
    for table in (base, finished):
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            raise _broken(delta)
    files = sorted(delta.glob(f"{STEM}*.safetensors"))
    for file in files:
        check_own_file(delta, file)
    exact = TensorFiles(delta, files) if files else None
    if _counts(exact) != corrected:
        raise ModelError(f"{delta} lacks corrections that its {NOTE} names.", "Download or copy its files again.")
    assert isinstance(base, dict)
    assert isinstance(finished, dict)
    return Record(base, str(content.get("meant", "")), finished, exact)


def _counts(exact: TensorFiles | None) -> dict[str, int]:
    """How many corrections each tensor has; raises `ModelError` when places and values do not match."""
    tensors = exact.tensors if exact else {}
    counts = {}
    for name, stored in tensors.items():
        tensor, _, part = name.rpartition(".")
        other = tensors.get(f"{tensor}.{'values' if part == 'places' else 'places'}")
        integers = part != "places" or stored.dtype in (torch.int32, torch.int64)
        if other is None or len(stored.shape) != 1 or stored.shape != other.shape or not integers:
            raise _broken(stored.file.parent)
        counts[tensor] = stored.shape[0]
    return counts


def write_record(
    folder: Path, corrections: Corrections, base: Mapping[str, str], meant: str, finished: Mapping[str, str]
) -> None:
    """Complete a delta's folder with what `read_record` reads. Raises `StorageError`."""
    counts = corrections.gather(folder)
    content = {"format": _FORMAT, "meant": meant, "base": base, "finished": finished, "corrected": counts}
    (folder / NOTE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


class Corrections:
    """The corrections while a delta is made: to disk as they come, since nobody knows before how many there will be.

    Args:
        folder: for files that are gone after `gather`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._counts: dict[str, int] = {}
        self._kinds: dict[str, tuple[torch.dtype, torch.dtype]] = {}  # of places and values
        self._numbers: dict[str, str] = {}  # of the files: a tensor's name is no file name
        folder.mkdir(exist_ok=True)
        for left in folder.iterdir():
            left.unlink()

    def note(self, name: str, numbers: int, wanted: Tensor, got: Tensor, start: int) -> None:
        """Keep where a flat piece of a tensor of so many numbers differs in any bit, and what it should be."""
        bits = _BITS[wanted.dtype.itemsize]
        places = torch.nonzero(wanted.view(bits) != got.view(bits)).reshape(-1)
        if not len(places):
            return
        number = self._numbers.setdefault(name, str(len(self._numbers)))
        kinds = (torch.int32 if numbers < 2**31 else torch.int64, wanted.dtype)
        for part, tensor in (("places", (places + start).to(kinds[0])), ("values", wanted[places])):
            with (self.folder / f"{number}.{part}").open("ab") as file:
                file.write(tensor.view(torch.uint8).numpy().data)
        self._counts[name] = self._counts.get(name, 0) + len(places)
        self._kinds[name] = kinds

    def notes(self, numbers: int) -> tuple[str, ...]:
        """For a person: how many of so many numbers have one."""
        count = sum(self._counts.values())
        if not count:
            return ()
        return (f"{count:,} of {numbers:,} numbers ({count / numbers:.2%}) are stored beside it, for an exact result.",)

    def gather(self, folder: Path) -> dict[str, int]:
        """Write all of them as safetensors; gives how many each tensor has."""
        plan = [
            PlannedTensor(f"{name}.{part}", (count,), dtype)
            for name, count in self._counts.items()
            for part, dtype in zip(("places", "values"), self._kinds[name], strict=True)
        ]
        if plan:
            with ShardWriter(folder, divide(plan, stem=STEM)) as writer:
                for planned in plan:
                    name, _, part = planned.name.rpartition(".")
                    writer.write_pieces(planned.name, _pieces(self.folder / f"{self._numbers[name]}.{part}", planned))
                writer.finish()
        for left in self.folder.iterdir():
            left.unlink()
        self.folder.rmdir()
        return self._counts


def _pieces(file: Path, planned: PlannedTensor) -> Sequence[Tensor]:
    whole = torch.from_file(str(file), size=planned.shape[0], dtype=planned.dtype)
    return torch.split(whole, _PIECE)


def _broken(folder: Path) -> ModelError:
    return ModelError(f"{folder}: {NOTE} and its corrections are broken.", "Download or copy its files again.")
