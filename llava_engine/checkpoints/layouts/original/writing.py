"""An opened checkpoint -> the folder that the original's code of its generation reads, with its tower inside.

Names, shapes and dtypes are those of its own checkpoints; the tower lies where 1.6 has it, and its settings in a folder
of their own, so that the result needs nothing from outside. Our own loader tells all the rest by content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from llava_engine.checkpoints import tensor_names
from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.layouts.folder_plan import (
    FolderPlan,
    OutTensor,
    dtype_name,
    json_text,
    kept,
    used_tensors,
)
from llava_engine.checkpoints.layouts.hf.picture_settings import picture_settings
from llava_engine.checkpoints.layouts.original.settings import original_settings, tower_name, tower_settings
from llava_engine.checkpoints.layouts.original.tokenizer import picture_row, tokenizer_files
from llava_engine.files.shards import PlannedTensor
from llava_engine.files.tensor_files import TensorSource
from llava_engine.model.config import LanguageConfig, LlavaConfig
from llava_engine.pictures.processing import Preprocessing

_PROJECTOR = "multi_modal_projector."


def original_folder(checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> FolderPlan:
    """Plan the folder.

    Args:
        checkpoint: in any layout.
        dtype: what the weights will be in, for config.json; None for what they are in.
    """
    tensors, config = checkpoint.tensors, as_original(checkpoint)
    out = []
    for name in used_tensors(checkpoint):
        target = tensor_names.original(name, config) if not name.startswith(_PROJECTOR) else ""
        if name in (tensor_names.EMBEDDINGS[0], tensor_names.HEAD):
            out.append(_shorter(tensors, name, target, config.language.vocab_size))
        elif target:
            out.append(kept(tensors, name, target))
    out += projector(tensors, checkpoint.config, config)
    if config.projector == "linear" and isinstance(config.language, LanguageConfig):
        out += _rotary_tables(tensors, config.language)
    tower = tower_name(checkpoint)
    files = {
        "config.json": json_text(original_settings(checkpoint, config, tower, dtype_name(checkpoint, dtype))),
        **tokenizer_files(checkpoint),
        **tower_folder(tower, config, checkpoint.preprocessing),
    }
    return FolderPlan(tuple(out), files)


def as_original(checkpoint: Checkpoint) -> LlavaConfig:
    """The model's shape as the original has it: one layer where Hugging Face's layout needs two, no token too many."""
    config = checkpoint.config
    added = picture_row(checkpoint)
    rows = config.language.vocab_size if added is None else added.rows_without
    return replace(
        config,
        projector="linear" if config.projector == "mlp2x_linear" else config.projector,
        language=replace(config.language, vocab_size=rows),
    )


def projector(tensors: TensorSource, before: LlavaConfig, after: LlavaConfig) -> list[OutTensor]:
    """The projector's tensors under the original's names.

    Two layers with nothing between them become one: the first itself where the second changes nothing, as in what we
    converted; else their product.
    """
    names = [name for name in tensors.tensors if name.startswith(_PROJECTOR)]
    if before.projector != "mlp2x_linear":
        return [kept(tensors, name, tensor_names.original(name, after)) for name in names]
    first, second = ({kind: f"{_PROJECTOR}linear_{number}.{kind}" for kind in ("weight", "bias")} for number in (1, 2))
    weight, bias = tensors.read(second["weight"]), tensors.read(second["bias"])
    if torch.equal(weight, torch.eye(len(weight), dtype=weight.dtype)) and not bias.any():
        return [kept(tensors, name, tensor_names.original(name, after)) for name in first.values()]

    def product(kind: str) -> Tensor:
        one = tensors.read(first[kind])
        both = weight.double() @ one.double() + (bias.double() if kind == "bias" else 0)
        return both.to(one.dtype)

    stored = {kind: tensors.tensors[name] for kind, name in first.items()}
    return [
        OutTensor(
            PlannedTensor(tensor_names.original(first[kind], after), (len(weight), *one.shape[1:]), one.dtype),
            partial(product, kind),
        )
        for kind, one in stored.items()
    ]


def tower_folder(name: str, config: LlavaConfig, preprocessing: Preprocessing) -> dict[str, str]:
    """The tower's settings, in a folder beside the weights that has the last part of its name."""
    folder = name.rsplit("/", 1)[-1]
    plain = replace(preprocessing, mode="stretch" if preprocessing.mode == "stretch" else "square", pinpoints=())
    return {
        f"{folder}/config.json": json_text(tower_settings(config.vision)),
        f"{folder}/preprocessor_config.json": json_text(picture_settings(plain)),
    }


def _shorter(tensors: TensorSource, name: str, target: str, rows: int) -> OutTensor:
    """Embeddings or head without the rows that Hugging Face's layout added."""
    stored = tensors.tensors[name]
    if stored.shape[0] <= rows:
        return kept(tensors, name, target)
    planned = PlannedTensor(target, (rows, *stored.shape[1:]), stored.dtype)
    return OutTensor(planned, lambda: tensors.read(name)[:rows])


def _rotary_tables(tensors: TensorSource, language: LanguageConfig) -> list[OutTensor]:
    """June 2023 stored each layer's table of angles; computed where the checkpoint does not have it."""
    half = torch.arange(0, language.head_dim, 2).float() / language.head_dim
    made: Callable[[], Tensor] = partial(torch.div, torch.ones(()), language.rope_theta**half)
    out = []
    for layer in range(language.num_hidden_layers):
        inner = f"layers.{layer}.self_attn.rotary_emb.inv_freq"
        stored = f"language_model.model.{inner}"
        if stored in tensors.tensors:
            out.append(kept(tensors, stored, f"model.{inner}"))
        else:
            out.append(OutTensor(PlannedTensor(f"model.{inner}", (len(half),), torch.float32), made))
    return out
