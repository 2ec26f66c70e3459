"""The table of a `.bin` file, of both of torch's forms, without running anything that is in it.

Since torch 1.6 such a file is a zip archive: `NAME/data.pkl` describes the tensors, `NAME/data/KEY` are the storages
that they are views of. Before, it was a row of pickles, and the storages behind them. Both are read as data
(pickled_table.py), and every claim is checked against the file's own size: `torch.load`, its weights-only form too,
believes a few hundred bytes that ask for gigabytes. What must be in the file and is not makes it a `ModelError`.
https://github.com/pytorch/pytorch/blob/main/torch/serialization.py
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import BinaryIO, TypeGuard

import torch

from llava_engine.errors import ModelError
from llava_engine.files.pickled_table import (
    ORDERED,
    BrokenPickleError,
    Call,
    Global,
    NoTableError,
    Reference,
    UnsafePickleError,
    read_pickle,
)
from llava_engine.files.tensor_table import TensorPlace, TensorTable

_STORAGES = {
    "torch DoubleStorage": torch.float64,
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}
_PLAIN = ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2")
# A parameter is its tensor, with things around that only training needs.
_PARAMETERS = ("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state")
_SUBCLASS = "torch._tensor _rebuild_from_type_v2"
# torch's own, which make no plain tensor: known, so that what they stand for is named, and nobody is blamed.
_OTHERS = frozenset(
    {
        *(f"torch._utils _rebuild_{kind}" for kind in (
            "sparse_tensor", "sparse_csr_tensor", "qtensor", "meta_tensor_no_storage", "nested_tensor",
            "tensor_v3", "device_tensor_from_numpy", "device_tensor_from_cpu_tensor", "wrapper_subclass",
        )),
        *(f"torch {kind}Storage" for kind in ("ComplexFloat", "ComplexDouble", "QInt8", "QUInt8", "QInt32")),
        *(f"torch {name}" for name, kind in vars(torch).items() if isinstance(kind, torch.dtype)),
        "torch.storage UntypedStorage",
        "torch.storage TypedStorage",
        "torch.serialization _get_layout",
        "torch Size",
        "torch device",
        "torch Tensor",
        "torch.nn.parameter Parameter",
    }
)  # fmt: skip
_ALLOWED = frozenset({ORDERED, _SUBCLASS, *_PLAIN, *_PARAMETERS, *_STORAGES, *_OTHERS})

_MAGIC = 0x1950A86A20F9469CFC6C  # of the form before torch 1.6
_FORM = 1001  # the only version of it there ever was
ZIP = b"PK\x03\x04"
"""The first bytes of a `.bin` since torch 1.6."""
_LOCAL_HEADER = 30  # bytes of a zip entry before its name
_WALKED = 2  # a byte of a pickle takes the time of so many of JSON, at least
_SHARED = 4  # a tensor may stand under a few names (tied embeddings, a tower within a tower), not under thousands
_PLAIN_WEIGHTS = "Take weights in float32, float16 or bfloat16."


@dataclass(frozen=True)
class _Storage:
    """A run of bytes in the file that tensors are views of."""

    start: int
    bytes: int


def read_bin(file: Path, most: int) -> TensorTable:
    """Where a file's tensors are.

    Args:
        file: as `torch.save` wrote it.
        most: how large its table may be.

    Raises:
        ModelError: it is cut off, packed, holds other things than plain tensors, could run code, or says that there is
            more in it than there is.
        OSError: it can not be read.
    """
    with file.open("rb") as opened:
        try:
            reading = (
                _Archive(file, opened, most // _WALKED)
                if opened.read(4) == ZIP
                else _Old(file, opened, most // _WALKED)
            )
            return TensorTable(_places(file, reading.content, reading.storages), _WALKED * reading.bytes)
        except UnsafePickleError:
            raise ModelError(
                f"{file} holds more than tensors and could run code; it was not loaded.",
                "Use weights from a source you trust, in safetensors form.",
            ) from None
        except NoTableError:
            raise _no_table(file) from None
        except (BrokenPickleError, zipfile.BadZipFile, NotImplementedError, UnicodeError, EOFError, KeyError) as error:
            raise _broken(file, str(error)) from None


class _Archive:
    """A file as torch writes it since 1.6."""

    def __init__(self, file: Path, opened: BinaryIO, most: int) -> None:
        size = file.stat().st_size
        if _directory_bytes(opened, size) > most:
            raise _too_many(file)
        with zipfile.ZipFile(opened) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            tables = [name for name in entries if name.endswith("/data.pkl")]
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
                raise ModelError(
                    f"{file} is packed, as torch packs no weights; it was not opened.", "Download it again."
                )
            if len(tables) != 1:
                raise _broken(file, "an archive without torch's table")
            if entries[tables[0]].file_size > most:
                raise _too_many(file)
            self.bytes = entries[tables[0]].file_size
            root = tables[0].removesuffix("data.pkl")
            order = entries.get(f"{root}byteorder")
            if order is not None and order.file_size < 100 and archive.read(order) != b"little":
                raise ModelError(f"{file} was written by a big-endian machine.", "Save it again on another one.")
            self.content = read_pickle(BytesIO(archive.read(tables[0])), _ALLOWED)
        self.storages: dict[str, _Storage] = {}
        for name, entry in entries.items():
            if name.startswith(f"{root}data/"):
                opened.seek(entry.header_offset + 26)
                lengths = opened.read(4)  # of the name and of the extra field, here; the directory may have others
                start = (
                    entry.header_offset
                    + _LOCAL_HEADER
                    + sum(int.from_bytes(lengths[at : at + 2], "little") for at in (0, 2))
                )
                if start + entry.file_size > size:
                    raise _broken(file, f"{name} ends behind its end")
                self.storages[name.removeprefix(f"{root}data/")] = _Storage(start, entry.file_size)


class _Old:
    """A file as torch wrote it before 1.6: five pickles, and each storage as a count and its numbers."""

    def __init__(self, file: Path, opened: BinaryIO, most: int) -> None:
        size = file.stat().st_size
        opened.seek(0)
        table = BytesIO(opened.read(most))
        magic, form = read_pickle(table, _ALLOWED), read_pickle(table, _ALLOWED)
        if (magic, form) != (_MAGIC, _FORM):
            raise BrokenPickleError("not as torch writes it")
        machine = read_pickle(table, _ALLOWED)
        if not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise ModelError(f"{file} was written by a big-endian machine.", "Save it again on another one.")
        self.content = read_pickle(table, _ALLOWED)
        keys = read_pickle(table, _ALLOWED)
        self.bytes = start = table.tell()
        widths = dict(_widths(self.content))
        self.storages: dict[str, _Storage] = {}
        for key in keys if isinstance(keys, list) else []:
            if not isinstance(key, str) or key not in widths:
                break  # of something that is no plain tensor, and is named by whoever asks for it
            opened.seek(start)
            count = opened.read(8)
            length = int.from_bytes(count, "little") * widths[key]
            if len(count) < 8 or start + 8 + length > size:
                raise _broken(file, "it is cut off")
            self.storages[key] = _Storage(start + 8, length)
            start += 8 + length


def _widths(content: object) -> list[tuple[str, int]]:
    """The bytes of a number in each storage that a table names."""
    found = []
    for value in content.values() if isinstance(content, dict) else ():
        arguments = _view(value)
        if arguments and (described := _described(arguments[0])):
            found.append((described[0], described[1].itemsize))
    return found


def _places(file: Path, content: object, storages: dict[str, _Storage]) -> dict[str, TensorPlace]:
    if not isinstance(content, dict):
        raise _no_table(file)
    places = {name: _place(file, name, value, storages) for name, value in content.items()}
    if sum(place.bytes for place in places.values()) > _SHARED * sum(storage.bytes for storage in storages.values()):
        raise ModelError(f"{file} says that it holds many times what it holds.", "Take the model from another source.")
    return places


def _place(file: Path, name: str, value: object, storages: dict[str, _Storage]) -> TensorPlace:
    arguments = _view(value)
    if arguments is None:
        kind = value.name.split()[-1] if isinstance(value, Call) else type(value).__name__
        raise ModelError(
            f"{file} is not a table of tensors: {name} is a {kind}.",
            "Give a folder that holds a model's state dict.",
        )
    described = _described(arguments[0])
    offset, shape, strides = arguments[1:]
    if described is None:
        raise ModelError(f"{file} holds {name} as a kind of numbers that we do not read.", _PLAIN_WEIGHTS)
    key, dtype = described
    if not (isinstance(offset, int) and _sizes((offset,)) and _sizes(shape) and _sizes(strides)):
        raise _broken(file, f"{name} has no shape")
    if len(shape) != len(strides):
        raise _broken(file, f"{name} has no shape")
    storage = storages.get(key)
    if storage is None:
        raise _broken(file, f"the numbers of {name} are not in it")
    ordered = tuple(prod(shape[place + 1 :]) for place in range(len(shape)))
    plain = all(count == 1 or stride == usual for count, stride, usual in zip(shape, strides, ordered, strict=True))
    place = TensorPlace(shape, dtype, storage.start + offset * dtype.itemsize, None if plain else strides)
    numbers = prod(shape) * dtype.itemsize
    if numbers and (numbers > storage.bytes or offset * dtype.itemsize + place.bytes > storage.bytes):
        raise ModelError(
            f"{file} says that {name} has {prod(shape):,} numbers, and holds fewer.", "Download or copy it again."
        )
    return place


def _view(value: object) -> tuple[object, ...] | None:
    """A plain tensor's (storage, offset, shape, strides); None for what is none."""
    for _ in range(3):  # a parameter of a subclass of a tensor
        if not isinstance(value, Call):
            return None
        if value.name in _PLAIN:
            return value.arguments[:4] if len(value.arguments) >= 4 and not any(value.arguments[6:]) else None
        if value.name in _PARAMETERS and value.arguments:
            value = value.arguments[0]
        elif value.name == _SUBCLASS and len(value.arguments) > 2:
            maker, _, arguments = value.arguments[:3]
            if not isinstance(maker, Global) or not isinstance(arguments, tuple):
                return None
            value = Call(maker.name, arguments)
    return None


def _described(storage: object) -> tuple[str, torch.dtype] | None:
    """A storage's key and dtype from torch's description ("storage", type, key, device, numbers, view or nothing)."""
    if not isinstance(storage, Reference) or not isinstance(storage.key, tuple) or len(storage.key) < 5:
        return None
    word, kind, key = storage.key[:3]
    if word != "storage" or not isinstance(kind, Global) or not isinstance(key, str) or any(storage.key[5:]):
        return None
    return (key, _STORAGES[kind.name]) if kind.name in _STORAGES else None


def _sizes(value: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and len(value) <= 8 and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _directory_bytes(opened: BinaryIO, size: int) -> int:
    """What a zip's directory takes, from the record at its end: each entry becomes an object of half a kilobyte."""
    tail = min(size, 22 + 2**16 + 20)  # the record, the longest comment, and the pointer to its larger form before it
    opened.seek(size - tail)
    end = opened.read(tail)
    at = end.rfind(b"PK\x05\x06")
    if at < 0:
        raise zipfile.BadZipFile("it is cut off")
    sizes = [int.from_bytes(end[at + 12 : at + 16], "little")]
    if end[max(at - 20, 0) : at].startswith(b"PK\x06\x07"):  # with a larger record, where it says or right before
        for place in (int.from_bytes(end[at - 12 : at - 4], "little"), size - tail + at - 20 - 56):
            opened.seek(min(max(place, 0), size))
            record = opened.read(56)
            sizes += [int.from_bytes(record[40:48], "little")] if record.startswith(b"PK\x06\x06") else []
        sizes = sizes[1:] or sizes
    return max(sizes)


def _broken(file: Path, why: str) -> ModelError:
    return ModelError(f"{file} is not a whole weight file: {why[:200]}.", "Download or copy it again.")


def _too_many(file: Path) -> ModelError:
    return ModelError(f"{file} names more tensors than any model has.", "Take the model from another source.")


def _no_table(file: Path) -> ModelError:
    return ModelError(f"{file} is not a table of tensors.", "Give a folder that holds a model's state dict.")
