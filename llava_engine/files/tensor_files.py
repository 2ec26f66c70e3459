"""The tensor files of a checkpoint folder, safely: names and shapes first, tensors one at a time.

Reads safetensors (one file or shards with an index) and `.bin` files by torch's weights-only unpickler, which builds
tensors and runs no code. Knows nothing of models.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.files.safety import check_own_file

# How much of the files may stay mapped into memory after it was read.
MAPPED_BYTES = 2**25
_LARGEST_TABLE = 2**26  # bytes of the pickle that names a .bin file's tensors: some hundreds for each
_PICKLE = b"\x80"  # a pickle's first byte
_OTHERS = "Take weights in float32, float16 or bfloat16."


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
        self._opened: dict[Path, Any] = {}
        self._whole: set[Path] = set()
        self._mapped = 0
        self.tensors: dict[str, StoredTensor] = {}
        for file in weight_files(folder) if files is None else files:
            for name, shape, dtype in self._shapes(file):
                if name in self.tensors:
                    raise ModelError(
                        f"{folder.name}: tensor {name} is in {self.tensors[name].file.name} and in {file.name}.",
                        "Take out the file that does not belong there.",
                    )
                self.tensors[name] = StoredTensor(file, shape, dtype)

    def read(self, name: str) -> Tensor:
        """One tensor, as stored."""
        file = self.tensors[name].file
        opened = self._open(file)
        tensor: Tensor = opened[name].contiguous() if isinstance(opened, Mapping) else opened.get_tensor(name)
        self._mapped += tensor.nbytes
        if self._mapped > MAPPED_BYTES:
            # Pages of a mapped file count as this process's memory until the mapping goes: begin a new one next time.
            # A file that can not be mapped was read whole; doing that again and again would take for ever.
            self._opened = {file: opened for file, opened in self._opened.items() if file in self._whole}
            self._mapped = 0
        return tensor

    def _shapes(self, file: Path) -> list[tuple[str, tuple[int, ...], torch.dtype]]:
        opened = self._open(file)
        if isinstance(opened, Mapping):
            return [(name, tuple(tensor.shape), tensor.dtype) for name, tensor in opened.items()]
        slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
        return [(name, tuple(s.get_shape()), _dtype(file, s.get_dtype())) for name, s in slices.items()]

    def _open(self, file: Path) -> Any:
        if file not in self._opened:
            check_own_file(file.parent, file)
            if file.suffix == ".safetensors":
                self._opened[file] = _open_safetensors(file)
            else:
                archive = _is_archive(file)
                if not archive:
                    self._whole.add(file)
                self._opened[file] = _open_bin(file, archive)
        return self._opened[file]


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights: shards by their index, or a single one. Raises `ModelError`."""
    try:
        return _weight_files(folder)
    except OSError as error:  # no permission for the folder, or a name that no file can have
        raise ModelError(
            f"The weights of {folder} can not be looked for: {error.strerror}.",
            "Check the permissions, or copy it again.",
        ) from None


def _weight_files(folder: Path) -> list[Path]:
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (folder / index).exists():
            table = read_json(folder / index).get("weight_map")
            if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
                raise ModelError(f"{folder / index} has no weight_map.", "Download or copy the file again.")
            names = sorted(set(table.values()))
            for name in names:
                if Path(name).name != name or name in ("", ".."):
                    raise ModelError(
                        f"{folder / index} names a file outside its folder: {name}.",
                        "Take the model from a source you trust.",
                    )
                if not (folder / name).is_file():
                    raise ModelError(f"{folder} lacks {name}, which its index names.", "Download or copy it again.")
            return [folder / name for name in names]
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
    raise ModelError(f"{folder} has no weights.", "It needs model.safetensors or pytorch_model.bin, or their shards.")


_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def _dtype(file: Path, name: str) -> torch.dtype:
    if name not in _DTYPES:
        raise ModelError(f"{file} holds tensors of type {name}, which we do not read.", _OTHERS)
    return _DTYPES[name]


def _open_safetensors(file: Path) -> Any:
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} is not a whole safetensors file: {error}.", "Download or copy it again.") from None


def _open_bin(file: Path, archive: bool) -> Mapping[str, Tensor]:
    try:
        # Files from before torch 1.6 are no archives and can not be mapped.
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError:
        raise _could_run_code(file) from None
    except Exception as error:  # what a stranger's bytes can make the unpickler do has no end
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{file} is not a whole weight file: {first}", "Download or copy it again.") from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ModelError(f"{file} is not a table of tensors.", "Give a folder that holds a model's state dict.")
    return {name: _plain_tensor(file, name, value) for name, value in content.items()}


def _is_archive(file: Path) -> bool:
    """Whether a file is torch's zip archive, where tensors lie as they are, or a pickle; anything else is refused."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except Exception:  # no archive, or one so broken that zipfile fails in a way of its own
        with file.open("rb") as opened:
            if opened.read(1) == _PICKLE:
                return False
        raise ModelError(f"{file} is not a whole weight file.", "Download or copy it again.") from None
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or any(entry.filename.endswith(".pkl") and entry.file_size > _LARGEST_TABLE for entry in entries):
        raise ModelError(f"{file} is packed, as torch packs no weights; it was not opened.", "Download it again.")
    return True


def _could_run_code(file: Path) -> ModelError:
    return ModelError(
        f"{file} holds more than tensors and could run code; it was not loaded.",
        "Use weights from a source you trust, in safetensors form.",
    )


def _plain_tensor(file: Path, name: str, value: object) -> Tensor:
    """A tensor of the usual kind, with as many numbers in the file as it claims."""
    if not isinstance(value, Tensor):
        raise ModelError(
            f"{file} is not a table of tensors: {name} is a {type(value).__name__}.",
            "Give a folder that holds a model's state dict.",
        )
    tensor = value.detach()
    usual = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not usual or tensor.dtype not in _DTYPES.values():
        raise ModelError(f"{file} holds {name} as {tensor.dtype}, {tensor.layout}, which we do not read.", _OTHERS)
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.itemsize:
        raise ModelError(
            f"{file} says that {name} has {tensor.numel():,} numbers, and holds fewer.", "Download or copy it again."
        )
    return tensor
