"""A `LlavaModel` -> a checkpoint folder in the Hugging Face LLaVA layout, all at once or not at all.

The folder is written under a temporary name beside its place and renamed when it is whole. Tokenizer and picture
settings are files that belong to the model and are copied as they are.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from llava_engine.checkpoints import tensor_names
from llava_engine.checkpoints.layouts.hf.config import to_hf
from llava_engine.files.atomic import replaced_folder
from llava_engine.files.safety import copy_own_file, own_files
from llava_engine.model.llava import LlavaModel

# What stands in a checkpoint beside config and weights, and is the same before and after training.
COMPANIONS = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "chat_template.json",
)


def save_checkpoint(
    model: LlavaModel, folder: Path, *, companions: Path | None = None, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Write a model as transformers' `LlavaForConditionalGeneration` and our own loader read it.

    Args:
        model: one with plain parameters (built for training, not for inference).
        folder: the new folder; an old one of this name is replaced at the very end.
        companions: a folder whose tokenizer and picture settings are copied along.
        dtype: what the weights are stored in.

    Raises:
        ModelError: one of the companions is a link that leads out of their folder.
        StorageError: no space, no permission.
    """
    with replaced_folder(folder) as draft:
        save_file(stored_tensors(model, dtype), str(draft / "model.safetensors"), metadata={"format": "pt"})
        (draft / "model.safetensors").chmod(0o644)  # safetensors writes for the owner alone
        config = {**to_hf(model.config), "dtype": str(dtype).removeprefix("torch.")}
        (draft / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        for file in own_files(companions, COMPANIONS) if companions else ():
            copy_own_file(file, draft / file.name)


def stored_tensors(model: LlavaModel, dtype: torch.dtype) -> dict[str, Tensor]:
    """The model's tensors under their names on disk, stacked ones taken apart."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():  # a tied head is listed once, as the embeddings
        names = tensor_names.sources(model.config, name)
        split = tensor_names.rows(model.config, name) or (parameter.shape[0],)
        for stored, part in zip(names, torch.split(parameter.detach(), list(split)), strict=True):
            tensors[stored] = part.to(device="cpu", dtype=dtype).contiguous().clone()
    return tensors
