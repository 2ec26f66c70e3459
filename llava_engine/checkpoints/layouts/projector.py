"""The projector of an opened checkpoint alone, as the original's first stage of training leaves it: to go onto a base.

Its config.json is the original's; where pictures stand between tokens of their own, those tokens' rows come along.
"""

from __future__ import annotations

from pathlib import Path

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
from llava_engine.checkpoints.layouts.original.settings import original_settings, tower_name
from llava_engine.checkpoints.layouts.original.writing import as_original, projector, tower_folder
from llava_engine.files.shards import PlannedTensor
from llava_engine.files.tensor_files import TensorSource

_MARKS = ("<im_start>", "<im_end>")


def projector_folder(checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> FolderPlan:
    """Plan the folder; see `original_folder`."""
    tensors, config = checkpoint.tensors, as_original(checkpoint)
    out = projector(tensors, checkpoint.config, config)
    if "image_newline" in tensors.tensors:
        out.append(kept(tensors, "image_newline", tensor_names.original("image_newline", config)))
    if checkpoint.template.wrap_pictures:
        out.append(_marks(checkpoint, tensors))
    tower = tower_name(checkpoint)
    raw = original_settings(checkpoint, config, tower, dtype_name(checkpoint, dtype))
    files: dict[str, str | Path] = {}
    notes = ["It goes onto the language model that it was trained with: --base FOLDER."]
    if Path(checkpoint.found.tower).is_dir():
        del raw["unfreeze_mm_vision_tower"]
        notes.append(f"The vision tower stays where it is, in {checkpoint.found.tower}.")
    else:  # it is nowhere else
        names = [name for name in used_tensors(checkpoint) if name.startswith("vision_tower.")]
        out += [kept(tensors, name, tensor_names.original(name, config)) for name in names]
        files |= tower_folder(tower, config, checkpoint.preprocessing)
    return FolderPlan(tuple(out), {"config.json": json_text(raw), **files}, tuple(notes), stem="mm_projector")


def _marks(checkpoint: Checkpoint, tensors: TensorSource) -> OutTensor:
    """The rows of the tokens around a picture, under the name of the embeddings that they are appended to."""
    name = tensor_names.embeddings_in(tensors)
    rows = [checkpoint.tokenizer.special_ids[mark] for mark in _MARKS]
    stored = tensors.tensors[name]
    planned = PlannedTensor(
        tensor_names.original(name, checkpoint.config), (len(rows), *stored.shape[1:]), stored.dtype
    )

    def read() -> Tensor:
        return tensors.read(name)[rows]

    return OutTensor(planned, read)
