"""Adapters and projectors over a base model: LoRA folders of the original and of PEFT, projectors in folders and files.

What comes out is one source of tensors under canonical names, what was trained folded in as each tensor is read. Every
tensor of the adapter finds its place, or the adapter is refused. Knows no model; folding itself is folding.py's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llava_engine.checkpoints import tensor_names
from llava_engine.checkpoints.adapters.base_check import by, check_adapted_base
from llava_engine.checkpoints.adapters.config import FILE, AdapterConfig, read_adapter_config
from llava_engine.checkpoints.adapters.folding import LowRank, grown, with_rows
from llava_engine.checkpoints.adapters.projector_file import config_of_file, shapes_in
from llava_engine.checkpoints.layouts.original.config import is_original
from llava_engine.checkpoints.renamed_tensors import View, canonical_names
from llava_engine.checkpoints.sniff import Form
from llava_engine.checkpoints.tensor_names import HEAD, embeddings_in
from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.files.tensor_files import StoredTensor, TensorFiles, TensorSource
from llava_engine.hub.cache import find_in_cache

_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
_REST = ("non_lora_trainables.safetensors", "non_lora_trainables.bin")
_PROJECTORS = ("mm_projector.safetensors", "mm_projector.bin")
_WHOLE = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json")

_PROJECTOR = "multi_modal_projector."
_ROWS = "trainable_tokens_delta"
_NEW_ROWS = 4  # [PAD], <im_patch>, <im_start>, <im_end>: the most that the original added to a vocabulary
# What an adapter may bring that its base, a bare language model, does not have.
_ADDITIONS = (_PROJECTOR, "vision_tower.", "image_newline", HEAD)

# PEFT's names in its files, and as they are in memory, where the adapter's own name ("default") stands in them.
_LOW_RANK = re.compile(
    r"(?P<module>.+?)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector"
    r"|(?:token_adapter\.)?trainable_tokens_delta)(?:\.default)?(?:\.weight)?"
)
_LONGEST_NAME = 300


def form(path: Path) -> Form:
    """Whether a folder holds a whole model, an adapter, or a projector alone, by its files; a file is a projector."""
    if path.is_file():
        return "projector"
    if (path / FILE).is_file() or _first(path, _ADAPTERS):
        return "adapter"
    if _first(path, _PROJECTORS) and not _first(path, _WHOLE):
        return "projector"
    return "whole"


def own_config(path: Path) -> dict[str, Any]:
    """An adapter's own config.json; empty where it has none, as PEFT's adapters and files by themselves.

    Raises:
        ModelError: it is broken, or `path` is a file that holds no projector.
    """
    if path.is_file():
        shapes_in(path)
    file = path / "config.json"
    return read_json(file) if path.is_dir() and file.exists() else {}


def config_over(path: Path, base: Path) -> dict[str, Any]:
    """The config.json for an adapter that has none: its base's, or one made of base and projector.

    Raises:
        ModelError: neither says what pictures go through.
    """
    if path.is_file():
        return config_of_file(path, base)
    raw = read_json(base / "config.json")
    if is_original(raw) or "vision_config" in raw:
        return raw
    raise ModelError(
        f"{path} has no config.json, and {base} is a bare language model: nothing says what pictures go through.",
        "Give a LLaVA as --base FOLDER, or put the adapter's config.json beside it.",
    )


def find_base(folder: Path, raw: Mapping[str, Any], given: Path | None) -> Path:
    """The folder of the base model: given, or where the adapter's own files say, or in the hub's cache.

    Raises:
        ModelError: it is not on this machine.
    """
    named = raw.get("_name_or_path")
    if (folder / FILE).is_file():
        named = read_adapter_config(folder).base or named
    for place in [given] if given is not None else _places(str(named or ""), folder):
        if (place / "config.json").is_file():
            return place
    if given is None and (cached := find_in_cache(str(named or ""))) is not None:
        return cached
    if given is not None:
        raise ModelError(f"The base {given} is no model folder: it has no config.json.", "Give another: --base FOLDER.")
    what = "a projector" if form(folder) == "projector" else "an adapter"
    raise ModelError(
        f"{folder} is {what} over {named or 'a base model'}, which is not on this machine.",
        "Give the base model's folder: --base FOLDER.",
    )


def onto_base(path: Path, raw: Mapping[str, Any], base: Path, *, force: bool) -> TensorSource:
    """The base's tensors with what `path` trained folded in, all under canonical names.

    Args:
        path: the adapter's or projector's folder, or a projector's file.
        raw: its config.json; the base's where it has none.
        base: the base model's folder.
        force: go on when settings or fingerprint speak for another base; shapes must fit all the same.

    Raises:
        ModelError: the adapter is for another base, a tensor of it has no place, or its settings are not supported.
    """
    stored = View(base, canonical_names(TensorFiles(base)))
    settings = read_adapter_config(path) if form(path) == "adapter" else None
    adapted = _Adapted(path, base, stored)
    for file in _plain_files(path):
        adapted.replace(TensorFiles(path, [file]))
    if settings is not None:
        matrices = _first(path, _ADAPTERS)
        if matrices is None:
            raise ModelError(f"{path} has {FILE} and no adapter_model.safetensors.", "Take the folder complete.")
        adapted.fold(TensorFiles(path, [matrices]), settings)
    if is_original(raw) and raw.get("mm_projector_type", "linear") == "linear":
        adapted.drop_second_layer()
    adapted.settle_rows(raw.get("vocab_size"), alone=settings is None)
    check_adapted_base(path, raw, base, stored, adapted, settings.base_sha256 if settings else None, force=force)
    return adapted


class _Adapted:
    """A base's tensors, some of them replaced or folded; each is made when it is read."""

    def __init__(self, path: Path, base: Path, stored: TensorSource) -> None:
        self.folder = path
        self.tensors: dict[str, StoredTensor] = dict(stored.tensors)
        self._stored = stored
        self._made: dict[str, Callable[[], Tensor]] = {name: partial(stored.read, name) for name in stored.tensors}
        self._brought: set[str] = set()
        self._embeddings = embeddings_in(stored)
        if not self._embeddings:
            raise ModelError(f"{base} is no language model: it has no embeddings.", "Give the base: --base FOLDER.")

    def read(self, name: str) -> Tensor:
        """One tensor, as stored or as made."""
        return self._made[name]()

    def replace(self, files: TensorSource) -> None:
        """Take tensors that were trained whole."""
        for name in files.tensors:
            self._take(files, name, tensor_names.canonical(self._plain(name)))

    def fold(self, files: TensorSource, settings: AdapterConfig) -> None:
        """Take low-rank pairs, and what goes with them."""
        modules: dict[str, dict[str, str]] = {}
        for name in files.tensors:
            plain = self._plain(name)
            found = _LOW_RANK.fullmatch(plain)
            if found is None:
                self._take(files, name, tensor_names.canonical(plain))
            elif modules.setdefault(found["module"], {}).setdefault(found["part"], name) != name:
                raise self._refusal(f"it has {plain} twice")
        for module, parts in modules.items():
            self._fold(module, parts, files, settings)

    def drop_second_layer(self) -> None:
        """Leave out what the base's own projector has more than a linear one that takes its place."""
        for name in [name for name in self.tensors if name.startswith(f"{_PROJECTOR}linear_2.")]:
            del self.tensors[name], self._made[name]

    def settle_rows(self, vocabulary: object, *, alone: bool) -> None:
        """Make embeddings and head equally long, and as long as the config of a projector alone says.

        A projector of June 2023 brings embeddings with rows for its new tokens (all rows, or the new ones alone), and
        no head. The original begins the head's new rows as the mean of the others, and trains them later or never.
        """
        name, base = self._embeddings, self._stored.tensors[self._embeddings].shape[0]
        said = vocabulary if type(vocabulary) is int else 0
        if name not in self._brought:
            if alone and base < said <= base + _NEW_ROWS:
                for each in {name, HEAD} & self.tensors.keys():
                    self._make(each, (said, *self.tensors[each].shape[1:]), grown(self._stored, each, said))
            return
        brought = self.tensors[name].shape[0]
        if brought < min(base, _NEW_ROWS + 1):
            # The marks around a picture alone; the token for a patch stands before them, untrained.
            total = max(base + 1 + brought, said)
            if total > base + brought + _NEW_ROWS:
                raise self._refusal(f"config.json says {total:,} tokens, and base and adapter have {base + brought:,}")
            self._make(name, (total, *self.tensors[name].shape[1:]), grown(self._stored, name, total, self._made[name]))
        elif brought < base:
            raise self._refusal(f"it has embeddings of {brought:,} tokens, and the base has {base:,}")
        rows = self.tensors[name].shape[0]
        if HEAD in self.tensors and HEAD not in self._brought and self.tensors[HEAD].shape[0] < rows:
            self._make(HEAD, (rows, *self.tensors[HEAD].shape[1:]), grown(self._stored, HEAD, rows))

    def _take(self, files: TensorSource, name: str, target: str) -> None:
        """Put a tensor of the adapter in the place of the base's."""
        new, old = files.tensors[name], self._stored.tensors.get(target)
        if target in self._brought:
            raise self._refusal(f"it has {name} twice")
        if old is None and not target.startswith(_ADDITIONS):
            raise self._refusal(f"it has a tensor {name}, for which the base has no place")
        if old is not None and not target.startswith(_PROJECTOR):
            free_rows = target in (HEAD, self._embeddings)
            if new.shape[free_rows:] != old.shape[free_rows:] or not new.shape:
                raise self._refusal(f"its {name} is {by(new.shape)}, and the base's is {by(old.shape)}")
        self._brought.add(target)
        self.tensors[target] = new
        self._made[target] = partial(files.read, name)

    def _fold(self, module: str, parts: Mapping[str, str], files: TensorSource, settings: AdapterConfig) -> None:
        target = tensor_names.canonical(f"{module}.weight")
        if target not in self.tensors:
            raise self._refusal(f"it adapts {module}, which the base does not have")
        shape, source = self.tensors[target].shape, self._made[target]
        shapes = {part: files.tensors[name].shape for part, name in parts.items()}
        if len(shape) != 2:
            raise self._refusal(f"it adapts {module}, which is no linear layer")
        delta = next((part for part in parts if part.endswith(_ROWS)), None)
        if delta is not None:
            rows = settings.rows_of(module)
            if len(parts) > 1 or shapes[delta] != (len(rows), shape[1]) or max(rows, default=0) >= shape[0]:
                raise self._refusal(f"its rows for {module} are {by(shapes[delta])}, and its settings name {len(rows)}")
            self._make(target, shape, with_rows(source, rows, partial(files.read, parts[delta])))
            return
        across = "embedding_" if "lora_embedding_A" in parts else ""
        down, up = f"lora_{across}A", f"lora_{across}B"
        wanted = {down, up} | ({"lora_magnitude_vector"} if settings.weight_decomposed and not across else set())
        for lacking in sorted(wanted - parts.keys()):
            raise self._refusal(f"{module} lacks {lacking}")
        for odd in sorted(parts.keys() - wanted):
            raise self._refusal(f"{module} has {odd}, which its settings do not speak of")
        out, into = reversed(shape) if across else shape
        rank = settings.rank_of(module)
        if shapes[down] != (rank, into) or shapes[up] != (out, rank):
            fits = shapes[down][1:] == (into,) and shapes[up][:1] == (out,)
            here = f"and {FILE} says rank {rank}" if fits else f"for a layer that is {by(shape)} in the base"
            raise self._refusal(f"{module} has matrices {by(shapes[down])} and {by(shapes[up])}, {here}")
        self._make(
            target,
            shape,
            LowRank(
                source,
                partial(files.read, parts[down]),
                partial(files.read, parts[up]),
                settings.scale_of(module),
                across=bool(across),
                magnitude=partial(files.read, parts["lora_magnitude_vector"]) if len(parts) == 3 else None,
            ),
        )

    def _make(self, name: str, shape: tuple[int, ...], made: Callable[[], Tensor]) -> None:
        """What is computed is float32, whatever it is computed from."""
        self.tensors[name] = StoredTensor(self.tensors[name].file, shape, torch.float32)
        self._made[name] = made

    def _plain(self, name: str) -> str:
        """A stored name as the model in memory has it, without what PEFT puts around."""
        if len(name) > _LONGEST_NAME:
            raise self._refusal(f"it has a tensor with a name of {len(name)} letters")
        return re.sub(r"\.modules_to_save(\.default)?\.", ".", name.removeprefix("base_model.model."))

    def _refusal(self, cause: str) -> ModelError:
        return ModelError(
            f"{self.folder} does not go onto {self._stored.folder}: {cause}.",
            "Give the base that it was trained on: --base FOLDER.",
        )


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _plain_files(path: Path) -> list[Path]:
    """Where tensors are that were trained whole."""
    if path.is_file():
        return [path]
    return [file for names in (_REST, _PROJECTORS) if (file := _first(path, names))]


def _places(named: str, folder: Path) -> list[Path]:
    path = Path(named)
    if path.is_absolute():
        return [path]
    around = (folder, folder.parent, folder.parent.parent, Path.cwd())
    return [place / part for place in around for part in (path, Path(path.name)) if part.name]
