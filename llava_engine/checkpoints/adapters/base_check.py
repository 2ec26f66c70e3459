"""Whether an adapter or a projector was trained on the base that it is to go onto.

By shapes, by the settings that both state, and by a fingerprint of the base's weights where the adapter has one. Names
and paths are not looked at: people move and rename their folders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llava_engine.checkpoints.adapters.base import Base
from llava_engine.checkpoints.tensor_names import embeddings_in
from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import TensorSource

# What the settings of a language model have that training does not change.
_LASTING = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_theta",
    "d_model",
    "n_layers",
    "n_heads",
)
_SIZES = {2048: "a 1B", 3200: "a 3B", 4096: "a 7B", 5120: "a 13B", 6656: "a 30B", 7168: "a 34B", 8192: "a 65B or 70B"}


def check_adapted_base(
    path: Path,
    raw: Mapping[str, Any],
    base: Base,
    stored: TensorSource,
    adapted: TensorSource,
    words: Tensor | None,
    sha256: str | None,
    *,
    force: bool,
) -> None:
    """Refuse a base that an adapter was not trained on.

    Args:
        path: the adapter.
        raw: its config.json.
        base: the base.
        stored: the base's tensors.
        adapted: the same with the adapter in them.
        words: embeddings that came along whole.
        sha256: the `base_sha256` that the adapter was trained on, where it says.
        force: believe the user in what shapes can not tell.

    Raises:
        ModelError: it is another base.
    """
    embeddings = embeddings_in(stored)
    rows, width = adapted.tensors[embeddings].shape
    _check_width(path, base.folder, adapted, width)
    settings = base.language
    signs = [
        f"{key} is {raw[key]} there and {settings[key]} here"
        for key in _LASTING
        if key in raw and key in settings and raw[key] != settings[key]
    ]
    said = raw.get("vocab_size")
    if type(said) is int and said != rows and said != settings.get("vocab_size"):
        signs.append(f"it has {said:,} tokens there and {rows:,} here")
    if words is not None and _differ(stored.read(embeddings), words):
        signs.append("its embeddings are those of other words")
    if sha256 is not None and sha256 != base_sha256(stored):
        signs.append("its weights are others than those that it was trained on")
    if signs and not force:
        raise ModelError(
            f"{path} was trained on another base than {base.folder}: {signs[0]}.",
            "Give the right one with --base FOLDER, or go on all the same with --force.",
        )


def base_sha256(tensors: TensorSource) -> str:
    """SHA-256 that tells a model from its relatives, without reading all of it.

    Of names and shapes in order, and of the values (as float32) of every tensor with one dimension and of the last
    layer's way out: what every further training moves.

    Args:
        tensors: by canonical names.
    """
    digest = hashlib.sha256()
    chosen = [name for name in sorted(tensors.tensors) if name.startswith("language_model.")]
    ways_out = [name for name in chosen if name.endswith(("mlp.down_proj.weight", "ffn.down_proj.weight"))]
    for name in chosen:
        shape = tensors.tensors[name].shape
        if name.endswith(".rotary_emb.inv_freq"):
            continue
        digest.update(f"{name} {by(shape)}\n".encode())
        if len(shape) == 1 or name == max(ways_out, key=_number, default=None):
            digest.update(tensors.read(name).to(torch.float32).contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def by(shape: tuple[int, ...]) -> str:
    """A shape in words."""
    return " by ".join(f"{size}" for size in shape) or "a single number"


def _differ(before: Tensor, after: Tensor) -> bool:
    """Whether embeddings that came along are not those of the base, trained further: then most rows stay near."""
    step = max(len(before) // 100, 1)  # a hundred rows tell
    old, new = before[::step].float(), after[: len(before) : step].float()
    near = (new - old).norm(dim=1) < 0.5 * old.norm(dim=1) + 1e-3
    return bool(near.float().mean() < 0.5)


def _number(name: str) -> int:
    """A layer's number."""
    return next((int(part) for part in name.split(".") if part.isdecimal()), -1)


def _check_width(path: Path, base: Path, adapted: TensorSource, width: int) -> None:
    ways_out = [f"multi_modal_projector.linear_{number}.weight" for number in (2, 1)]
    last = next((name for name in ways_out if name in adapted.tensors), None)
    if last is None:
        return
    shape = adapted.tensors[last].shape
    if len(shape) != 2 or shape[0] != width:
        made = shape[0] if shape else 0
        belongs = f"this projector belongs to {_SIZES[made]}" if made in _SIZES else "this projector belongs to another"
        here = f", and {base} is {_SIZES[width]}" if made in _SIZES and width in _SIZES else ""
        raise ModelError(f"{path}: {made} into {width}: {belongs}{here}.", "Give its own base: --base FOLDER.")
