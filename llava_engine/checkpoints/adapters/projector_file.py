"""A projector's file by itself (stage 1 of the original's training) -> the config.json that it lacks.

The file tells its kind, its widths and how many tokens were added; the base tells the rest. Which tower it was trained
with it does not tell: the user gives that. Builds no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llava_engine.checkpoints import tensor_names
from llava_engine.checkpoints.layouts.original.config import is_original
from llava_engine.checkpoints.tensor_names import EMBEDDINGS
from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.files.tensor_files import TensorFiles

_FIRST = "multi_modal_projector.linear_1.weight"
_SECOND = "multi_modal_projector.linear_2.weight"
_MARKS_AND_PATCH = 3  # <im_patch>, <im_start>, <im_end>


def shapes_in(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a projector's tensors, by canonical name. Raises `ModelError` when the file holds no projector."""
    tensors = TensorFiles(file.parent, [file]).tensors
    shapes = {tensor_names.canonical(name): tensor.shape for name, tensor in tensors.items()}
    if len(shapes.get(_FIRST, ())) != 2:
        raise ModelError(
            f"{file} holds no projector.", "Give a model's folder, or the file that a projector's training wrote."
        )
    if any(".layers." in name or ".blocks." in name for name in shapes if name.startswith("language_model.")):
        raise ModelError(f"{file} holds a whole model, not a projector.", f"Give its folder: {file.parent}.")
    return shapes


def config_of_file(file: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json in the original's layout for a projector's file over a base, whose config is `raw`.

    A config.json of an original LLaVA beside the file (or beside its folder, where the trainer puts those of steps
    in between) goes first.

    Raises:
        ModelError: the file holds no projector, or the base no language model.
    """
    shapes = shapes_in(file)
    for folder in (file.parent, file.parent.parent):
        if (folder / "config.json").is_file() and is_original(beside := read_json(folder / "config.json")):
            return beside
    added = 0
    if EMBEDDINGS[0] in shapes and type(raw.get("vocab_size")) is int:
        brought = shapes[EMBEDDINGS[0]][0]
        added = brought - raw["vocab_size"] if brought >= raw["vocab_size"] else brought + 1
    return {
        **raw,
        "use_mm_proj": True,
        "mm_vision_tower": "",
        "mm_hidden_size": shapes[_FIRST][1],
        "mm_projector_type": "mlp2x_gelu" if _SECOND in shapes else "linear",
        "mm_vision_select_layer": -2,  # as every recipe of the original has it; the trainer's own default is -1
        "mm_use_im_patch_token": added > 0,
        "mm_use_im_start_end": added >= _MARKS_AND_PATCH,
    } | ({"vocab_size": raw["vocab_size"] + added} if added else {})
