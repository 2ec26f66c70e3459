"""A checkpoint in Hugging Face's layout, read: its config states all, and its tower is inside. See `Layout`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llava_engine.checkpoints.layouts.hf.config import from_hf
from llava_engine.checkpoints.layouts.layout import Reading
from llava_engine.checkpoints.layouts.original.config import PLACEHOLDER
from llava_engine.checkpoints.parts import Parts
from llava_engine.checkpoints.picture_files import NO_FILE, preprocessing_by
from llava_engine.checkpoints.sniff import Form
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.errors import ModelError
from llava_engine.model.config import LlavaConfig

_OF_TEMPLATE = {"v0": "v0", "sqa": "v0 ScienceQA"}


def check(parts: Parts) -> None:
    """Refuse bare language models and towers with what they are good for, and other families."""
    raw, folder = parts.raw, parts.folder
    if "patch_size" in raw or ("vision_config" in raw and "projection_dim" in raw):
        raise ModelError(
            f"{folder} is a vision tower, without a language model.", "It can be the --tower of a model that lacks it."
        )
    if "vision_config" not in raw and ("num_hidden_layers" in raw or "n_layers" in raw):
        raise ModelError(
            f"{folder} is a language model without a vision tower and projector ({raw.get('model_type', 'no type')}).",
            "It can be the --base of an adapter, a projector or a delta.",
        )
    from_hf(raw)


def read(parts: Parts) -> Reading:
    """Read it."""
    tensors, config = parts.tensors, from_hf(parts.raw)
    if parts.pictures is None:
        raise ModelError(
            f"{parts.home} does not say how pictures are made ready: {NO_FILE}.", "Take the model's folder complete."
        )
    preprocessing, notes = preprocessing_by(parts.pictures, config.vision.image_size)
    return Reading(config, tensors, preprocessing, "in the checkpoint", notes)


def added_tokens(raw: Mapping[str, Any], config: LlavaConfig) -> tuple[str, ...]:
    """None: its files have all."""
    return ()


def image_token_id(config: LlavaConfig, tokenizer: Tokenizer) -> int:
    """What the config says, where the vocabulary has it; it only stands for a picture, and is never looked up."""
    return config.image_token_id if config.image_token_id < config.language.vocab_size else PLACEHOLDER


def generation(config: LlavaConfig, tokenizer: Tokenizer, form: Form) -> str:
    """By projector and tiles."""
    if config.projector != "mlp2x_gelu":  # converted from an older one; only we write that
        return _OF_TEMPLATE.get(config.template or "", "v1")
    return "llava-hf 1.5" if config.tiles is None else "llava-hf NeXT"
