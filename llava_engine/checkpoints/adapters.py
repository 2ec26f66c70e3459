"""Adapters and projectors over a base model: LoRA folders of the original and of PEFT, and projector-only folders.

What comes out is one source of tensors with the names of the base, the adapter folded in as each tensor is read:
W + (alpha / r) · B·A (Hu et al. 2021, section 4.1), computed in float32. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from llava_engine.checkpoints.files import StoredTensor, TensorFiles, TensorSource, read_json
from llava_engine.checkpoints.sniff import Form
from llava_engine.errors import ModelError

_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
_REST = ("non_lora_trainables.safetensors", "non_lora_trainables.bin")
_PROJECTORS = ("mm_projector.safetensors", "mm_projector.bin")


def form(folder: Path) -> Form:
    """Whether a folder holds a whole model, an adapter, or a projector alone: by the files that are in it."""
    if (folder / "adapter_config.json").is_file() or _first(folder, _ADAPTERS):
        return "adapter"
    whole = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json")
    if _first(folder, _PROJECTORS) and not _first(folder, whole):
        return "projector"
    return "whole"


def find_base(folder: Path, raw: Mapping[str, Any], given: Path | None) -> Path:
    """The folder of the base model: given, or where the adapter's own files say.

    Raises:
        ModelError: it is not on this machine.
    """
    named = raw.get("_name_or_path")
    if (folder / "adapter_config.json").is_file():
        named = read_json(folder / "adapter_config.json").get("base_model_name_or_path") or named
    for place in [given] if given is not None else _places(str(named or ""), folder):
        if (place / "config.json").is_file():
            return place
    raise ModelError(
        f"{folder} is an adapter or a projector over {given or named or 'a base model'}, which is not on this machine.",
        "Give the base model's folder: --base FOLDER.",
    )


def onto_base(folder: Path, base: Path, *, force: bool) -> TensorSource:
    """The base's tensors with what `folder` trains folded in, under the base's names.

    Raises:
        ModelError: the shapes show another base.
    """
    return _Adapted(folder, TensorFiles(base), force)


class _Adapted:
    def __init__(self, folder: Path, base: TensorFiles, force: bool) -> None:
        self.folder = folder
        self._base = base
        self._replaced: dict[str, tuple[TensorSource, str]] = {}
        self._low_rank: dict[str, tuple[str, str]] = {}
        for names in (_REST, _PROJECTORS):
            if file := _first(folder, names):
                source = TensorFiles(folder, [file])
                self._replaced |= {_plain(name): (source, name) for name in source.tensors}
        self._scale = 0.0
        if file := _first(folder, _ADAPTERS):
            self._adapter = TensorFiles(folder, [file])
            settings = read_json(folder / "adapter_config.json")
            self._scale = settings["lora_alpha"] / settings["r"]
            for name in self._adapter.tensors:
                if ".lora_A." in name:
                    target = _plain(name.replace(".lora_A", ""))
                    self._low_rank[target] = name, name.replace(".lora_A.", ".lora_B.")
        self.tensors: Mapping[str, StoredTensor] = {
            **base.tensors,
            **{name: source.tensors[old] for name, (source, old) in self._replaced.items()},
        }

    def read(self, name: str) -> Tensor:
        if name in self._replaced:
            source, old = self._replaced[name]
            return source.read(old)
        weight = self._base.read(name)
        if name in self._low_rank:
            down, up = (self._adapter.read(part).float() for part in self._low_rank[name])
            weight = weight.float() + self._scale * (up @ down)
        return weight


def _plain(name: str) -> str:
    return name.removeprefix("base_model.model.")


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _places(named: str, folder: Path) -> list[Path]:
    path = Path(named)
    if path.is_absolute():
        return [path]
    rooms = (folder, folder.parent, folder.parent.parent, Path.cwd())
    return [room / part for room in rooms for part in (path, Path(path.name)) if part.name]
