"""Adapters and projectors over a base model: LoRA folders of the original and of PEFT, projectors in folders and files.

What they are, and which of their files hold what; what comes out is one source of tensors
under canonical names. What becomes of each tensor is adapted.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llava_engine.checkpoints.adapters.adapted import Adapted
from llava_engine.checkpoints.adapters.base import Base
from llava_engine.checkpoints.adapters.base_check import check_adapted_base
from llava_engine.checkpoints.adapters.config import FILE, AdapterConfig
from llava_engine.checkpoints.adapters.projector_file import config_of_file, shapes_in
from llava_engine.checkpoints.layouts.original.config import is_original
from llava_engine.checkpoints.plain_weights import plain_tensors
from llava_engine.checkpoints.renamed_tensors import View, canonical_names
from llava_engine.checkpoints.sniff import Form
from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.files.tensor_files import TensorFiles, TensorSource
from llava_engine.files.weight_files import names_model

_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
_REST = ("non_lora_trainables.safetensors", "non_lora_trainables.bin")
_PROJECTORS = ("mm_projector.safetensors", "mm_projector.bin")


def form(path: Path) -> Form:
    """Whether a folder holds a whole model, an adapter, or a projector alone, by its files; a file is a projector."""
    if path.is_file():
        return "projector"
    if (path / FILE).is_file() or _first(path, _ADAPTERS):
        return "adapter"
    if _first(path, _PROJECTORS) and not names_model(path):
        return "projector"
    return "whole"


def own_config(path: Path) -> Mapping[str, Any]:
    """An adapter's own config.json; empty where it has none, as PEFT's adapters and files by themselves.

    Raises:
        ModelError: it is broken, or `path` is a file that holds no projector.
    """
    if path.is_file():
        shapes_in(path)
    file = path / "config.json"
    return read_json(file) if path.is_dir() and file.exists() else {}


def config_over(path: Path, base: Base) -> Mapping[str, Any]:
    """The config.json for an adapter that has none: its base's, or one made of base and projector.

    Raises:
        ModelError: neither says what pictures go through.
    """
    if path.is_file():
        return config_of_file(path, base.config)
    if is_original(base.config) or "vision_config" in base.config:
        return base.config
    rest = "" if _first(path, _REST) else f" and no {_REST[1]} (a step in between lacks both)"
    raise ModelError(
        f"{path} has no config.json{rest}, and {base.folder} is a bare language model: "
        "nothing says what pictures go through.",
        "Give a LLaVA as --base FOLDER, or put the adapter's config.json beside it.",
    )


def onto_base(
    path: Path,
    raw: Mapping[str, Any],
    settings: AdapterConfig | None,
    base: Base,
    tower: Callable[[], TensorSource | None],
    *,
    force: bool,
) -> Adapted:
    """The base's tensors with what `path` trained folded in, all under canonical names.

    Args:
        path: the adapter's or projector's folder, or a projector's file.
        raw: its config.json; the base's where it has none.
        settings: its adapter_config.json; None for a projector.
        base: what it goes onto.
        tower: gives the tower that the config names, for an adapter that changes it; None where it is not here.
        force: go on when settings or fingerprint speak for another base; shapes must fit all the same.

    Raises:
        ModelError: the adapter is for another base, a tensor of it has no place, or its settings are not supported.
    """
    plain = [TensorFiles(path, [file]) for file in _plain_files(path)]
    matrices = _matrices(path) if settings is not None else None
    whole = View(base.folder, canonical_names(plain_tensors(base.folder, base.config)[0]))
    stored = _with_tower(whole, [*plain, *([matrices] if matrices else [])], tower)
    adapted = Adapted(path, base.folder, stored, tied=base.is_tied)
    for files in plain:
        adapted.replace(files)
    if settings is not None and matrices is not None:
        adapted.fold(matrices, settings)
        _check_projector(path, base.folder, adapted)
    if is_original(raw) and raw.get("mm_projector_type", "linear") == "linear":
        adapted.drop_second_layer()
    adapted.settle_rows(raw.get("vocab_size"), alone=settings is None)
    words, sha256 = adapted.brought_embeddings(), settings.base_sha256 if settings else None
    check_adapted_base(path, raw, base, stored, adapted, words, sha256, force=force)
    return adapted


def _matrices(path: Path) -> TensorFiles:
    file = _first(path, _ADAPTERS)
    if file is None:
        raise ModelError(f"{path} has {FILE} and no adapter_model.safetensors.", "Take the folder complete.")
    return TensorFiles(path, [file])


def _with_tower(
    base: TensorSource, brought: list[TensorFiles], tower: Callable[[], TensorSource | None]
) -> TensorSource:
    """What an adapter goes onto: the base's tensors, and those of an outside tower where it changes a part of it."""
    touching = [name for files in brought for name in files.tensors if "vision_tower." in name]
    comes_along = any(name.endswith("embeddings.patch_embedding.weight") for name in touching)
    if not touching or comes_along or any(name.startswith("vision_tower.") for name in base.tensors):
        return base
    outside = tower()
    if outside is None:
        return base
    return View(base.folder, {name: (source, name) for source in (base, outside) for name in source.tensors})


def _check_projector(path: Path, base: Path, adapted: Adapted) -> None:
    """Say what is missing where neither base nor adapter has a projector."""
    if not any(name.startswith("multi_modal_projector.") for name in adapted.tensors):
        raise ModelError(
            f"{path} has no {_REST[1]} beside its matrices, and so there is no projector: {base} has none either.",
            f"Take the finished adapter's folder complete (steps in between lack {_REST[1]}), or give a LLaVA as its "
            "base: --base FOLDER.",
        )


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _plain_files(path: Path) -> list[Path]:
    """Where tensors are that were trained whole."""
    if path.is_file():
        return [path]
    return [file for names in (_REST, _PROJECTORS) if (file := _first(path, names))]
