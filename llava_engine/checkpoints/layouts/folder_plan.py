"""What a converted checkpoint will be: its tensors, each with a way to read it, and its small files.

Made by hf/writing.py, original/writing.py and projector.py, written by convert/folder.py. Nothing is read or computed
before `read` is called.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.load import match
from llava_engine.files.shards import PlannedTensor
from llava_engine.files.tensor_files import TensorSource
from llava_engine.model.skeleton import skeleton


@dataclass(frozen=True)
class OutTensor:
    """A tensor to be written.

    Attributes:
        planned: name, shape and dtype in the new files.
        read: gives it; shape and dtype as planned.
    """

    planned: PlannedTensor
    read: Callable[[], Tensor]


@dataclass(frozen=True)
class FolderPlan:
    """A folder to be written.

    Attributes:
        tensors: of the weight files, in order.
        files: the content of every other file, by its path in the folder; a `Path` is copied.
        notes: what a person should know, a sentence each.
        stem: of the weight files' names; "model" as every loader looks for it.
    """

    tensors: tuple[OutTensor, ...]
    files: Mapping[str, str | Path]
    notes: tuple[str, ...] = ()
    stem: str = "model"


def kept(source: TensorSource, stored: str, name: str) -> OutTensor:
    """A tensor of a source under another name, unchanged."""
    tensor = source.tensors[stored]
    return OutTensor(PlannedTensor(name, tensor.shape, tensor.dtype), partial(source.read, stored))


def used_tensors(checkpoint: Checkpoint) -> list[str]:
    """The canonical names that the model is made of, in the order of the files; a tied head is no tensor of its own.

    Raises:
        ModelError: one is missing, unknown or misshapen.
    """
    config, tensors = checkpoint.config, checkpoint.tensors
    used = {name for names in match(skeleton(config), config, tensors).values() for name in names}
    return [name for name in tensors.tensors if name in used]


def dtype_name(checkpoint: Checkpoint, asked: torch.dtype | None) -> str:
    """What config.json calls the dtype of the weights: what was asked for, or that of the norms."""
    tensors = checkpoint.tensors.tensors
    norm = next(name for name in tensors if name.endswith(("norm.weight", "norm_f.weight")))
    return str(asked or tensors[norm].dtype).removeprefix("torch.")


def json_text(value: Any) -> str:
    """A small file's content."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
