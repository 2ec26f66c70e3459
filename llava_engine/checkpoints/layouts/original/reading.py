"""A checkpoint in the original's layout, read: the language model's config, and a tower that is elsewhere or inside.

See `Layout`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llava_engine.checkpoints.agreement import check_projector
from llava_engine.checkpoints.layouts.layout import Reading
from llava_engine.checkpoints.layouts.original.config import PLACEHOLDER, aspect_ratio, from_original
from llava_engine.checkpoints.parts import Parts
from llava_engine.checkpoints.picture_files import preprocessing_by
from llava_engine.checkpoints.renamed_tensors import View
from llava_engine.checkpoints.sniff import Form, pads_as_v1
from llava_engine.checkpoints.towers import Tower, inner_tower, missing_tower, open_tower, settings
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import TensorSource
from llava_engine.model.config import LlavaConfig, MptConfig
from llava_engine.pictures.processing import Preprocessing

_TOWER = "vision_tower."
_IN_CONFIG = ("do_pad", "image_grid_pinpoints")


def check(parts: Parts) -> None:
    """Its keys told that it is a LLaVA; refuse one that sees in another way."""
    if parts.raw.get("s2", parts.raw.get("s2_scales")):
        raise ModelError(
            f"{parts.folder}: S2 (s2_scales) is not supported: it sees a picture in several scales side by side.",
            "Take a LLaVA without S2: llava models list.",
        )


def read(parts: Parts) -> Reading:
    """Read it, with its tower in the place of any copy."""
    raw, stored = parts.raw, parts.tensors
    tower, notes = _tower(parts)
    config = from_original(raw, tower.config)
    check_projector(parts.folder, stored, tower)
    preprocessing, more = _preprocessing(parts, tower, config)
    chosen: dict[str, tuple[TensorSource, str]] = {
        name: (stored, name) for name in stored.tensors if not name.startswith(_TOWER)
    }
    chosen |= {name: (tower.tensors, name) for name in tower.tensors.tensors}
    if config.tiles is None or config.tiles.merge != "spatial_unpad":
        chosen.pop("image_newline", None)  # a 1.6 that was tuned on without tiles keeps it, and never reads it
    return Reading(config, View(parts.folder, chosen), preprocessing, tower.where, (*notes, *more))


def added_tokens(raw: Mapping[str, Any], config: LlavaConfig) -> tuple[str, ...]:
    """The token for a patch, and those around a picture."""
    patch = ("<im_patch>",) if raw.get("mm_use_im_patch_token", True) else ()
    return (*patch, "<im_start>", "<im_end>") if config.wrap_pictures else patch


def image_token_id(config: LlavaConfig, tokenizer: Tokenizer) -> int:
    """The token for a patch, where the model has a row for it."""
    patch = tokenizer.special_ids.get("<im_patch>", PLACEHOLDER)
    return patch if patch < config.language.vocab_size else PLACEHOLDER


def generation(config: LlavaConfig, tokenizer: Tokenizer, form: Form) -> str:
    """By language model, tiles and projector; the older ones by what they pad with."""
    if isinstance(config.language, MptConfig):
        return "MPT"
    if config.tiles is not None:
        return "1.6"
    if config.projector == "mlp2x_gelu":
        return "1.5"
    if pads_as_v1(tokenizer, form):
        return "v1"
    return "v0" if config.wrap_pictures else "v0 ScienceQA"


def _tower(parts: Parts) -> tuple[Tower, tuple[str, ...]]:
    """The tower, and notes.

    One that was trained further is in the file. A frozen one that is there too is a copy, which the original ignores
    (it may have been through float16): the tower's own folder goes first, the copy serves where that is missing.
    """
    stored, found, named = parts.tensors, parts.tower, parts.named_tower
    own = inner_tower(stored.tensors)
    if own is not None and (parts.trained_tower or found is None):
        tensors = View(parts.folder, {name: (stored, name) for name in stored.tensors if name.startswith(_TOWER)})
        if found is not None:
            shape, pictures = settings(found)
            return Tower(shape, tensors, pictures, "in the checkpoint"), ()
        note = f"Its tower {named} is not here; the copy in the checkpoint is used, its shape read off it."
        return Tower(own, tensors, None, "in the checkpoint"), (note,)
    if found is None:
        raise missing_tower(named)
    copy = "The copy of the frozen tower in the checkpoint is not used; the tower's own folder is."
    return open_tower(found), (copy,) if own is not None else ()


def _preprocessing(parts: Parts, tower: Tower, config: LlavaConfig) -> tuple[Preprocessing, tuple[str, ...]]:
    """The tower's own settings, or the checkpoint's; what becomes of other shapes and of tiles is in config.json."""
    pictures = tower.pictures or parts.pictures
    if pictures is not None:
        stated = {key: value for key, value in pictures.stated.items() if key not in _IN_CONFIG}
        pictures = replace(pictures, stated=stated)
    preprocessing, notes = preprocessing_by(pictures, config.vision.image_size)
    pinpoints = config.tiles.pinpoints if config.tiles else ()
    return preprocessing.as_original(aspect_ratio(parts.raw), pinpoints), notes
