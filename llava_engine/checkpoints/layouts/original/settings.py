"""`config.json` as the original's code of a checkpoint's generation writes it, and that of the tower beside it.

A checkpoint that had such a file keeps its keys. Knows no tensors.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.template_choice import template_by_family
from llava_engine.conversation import templates
from llava_engine.model.config import LanguageConfig, LlavaConfig, VisionConfig

# The towers of the released checkpoints by their size; of an original checkpoint the name is known.
_TOWERS = {
    VisionConfig(image_size=224): "openai/clip-vit-large-patch14",
    VisionConfig(image_size=336): "openai/clip-vit-large-patch14-336",
}
_TOWER = "vision_tower"
_FILES = (".json", ".model", ".safetensors", ".bin")  # names that other files of the folder have


def tower_name(checkpoint: Checkpoint) -> str:
    """What `mm_vision_tower` says: the name that it had, that of the tower of this size, or a folder's.

    Its last part becomes a folder's name, so it is one that can do no harm.
    """
    named = str(checkpoint.raw.config.get("mm_vision_tower") or _TOWERS.get(checkpoint.config.vision, _TOWER))
    parts = PurePosixPath(named).parts
    if not parts or not re.fullmatch(r"\w[\w.-]{0,100}", parts[-1]) or parts[-1].endswith(_FILES):
        return _TOWER
    return parts[-1] if PurePosixPath(named).is_absolute() or ".." in parts else str(PurePosixPath(*parts))


def original_settings(checkpoint: Checkpoint, config: LlavaConfig, tower: str, dtype: str) -> dict[str, Any]:
    """The parsed config.json.

    Args:
        checkpoint: what is converted.
        config: its shape in the original's layout.
        tower: from `tower_name`.
        dtype: of the weights, as "float16".
    """
    raw = dict(checkpoint.raw.config) if checkpoint.found.layout == "original" else _made(checkpoint, config)
    raw |= {
        "vocab_size": config.language.vocab_size,
        "mm_vision_tower": tower,
        "unfreeze_mm_vision_tower": True,  # so that the tower inside is the one that counts
        "torch_dtype": dtype,
    }
    if isinstance(config.language, LanguageConfig) and "tie_word_embeddings" in raw:
        raw["tie_word_embeddings"] = config.language.tie_word_embeddings  # an adapter may have untied them
    raw.pop("_name_or_path", None)
    _tell_template(raw, checkpoint, config)
    return raw


def tower_settings(vision: VisionConfig) -> dict[str, Any]:
    """A CLIP vision tower's config.json."""
    return {
        "architectures": ["CLIPVisionModel"],
        "model_type": "clip_vision_model",
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "num_channels": 3,
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.intermediate_size,
        "num_hidden_layers": vision.num_hidden_layers,
        "num_attention_heads": vision.num_attention_heads,
        "hidden_act": vision.hidden_act,
        "layer_norm_eps": vision.layer_norm_eps,
    }


def _made(checkpoint: Checkpoint, config: LlavaConfig) -> dict[str, Any]:
    language = config.language
    assert isinstance(language, LanguageConfig)  # Hugging Face's layout has no other
    eos = language.eos_token_ids
    mistral = config.template == "mistral"
    common: dict[str, Any] = {
        "architectures": ["LlavaMistralForCausalLM" if mistral else "LlavaLlamaForCausalLM"],
        "bos_token_id": language.bos_token_id,
        "eos_token_id": list(eos) if len(eos) > 1 else eos[0],
        "freeze_mm_mlp_adapter": False,
        "hidden_act": "silu",
        "hidden_size": language.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": language.intermediate_size,
        "max_position_embeddings": language.max_position_embeddings,
        "mm_hidden_size": config.vision.hidden_size,
        "mm_use_im_start_end": checkpoint.template.wrap_pictures,
        "mm_vision_select_layer": config.vision_feature_layer,
        "num_attention_heads": language.num_attention_heads,
        "num_hidden_layers": language.num_hidden_layers,
        "pad_token_id": checkpoint.tokenizer.pad_id,
        "rms_norm_eps": language.rms_norm_eps,
        "tie_word_embeddings": language.tie_word_embeddings,
        "tune_mm_mlp_adapter": False,
        "use_cache": True,
        "use_mm_proj": True,
    }
    if config.projector == "linear":
        return {**common, "model_type": "llava", "sep_image_conv_front": False}
    newest = {
        **common,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "image_aspect_ratio": "square" if checkpoint.preprocessing.mode == "stretch" else checkpoint.preprocessing.mode,
        "mm_patch_merge_type": "flat",
        "mm_projector_lr": None,
        "mm_projector_type": config.projector,
        "mm_use_im_patch_token": False,
        "mm_vision_select_feature": "cls_patch" if config.keep_class_token else "patch",
        "model_type": "llava_mistral" if mistral else "llava_llama",
        "num_key_value_heads": language.num_key_value_heads,
        "pretraining_tp": 1,
        "rope_scaling": None,
        "rope_theta": language.rope_theta,
        "tokenizer_model_max_length": language.max_position_embeddings,
        "tokenizer_padding_side": "right",
    }
    if language.head_dim * language.num_attention_heads != language.hidden_size:
        newest["head_dim"] = language.head_dim
    if config.tiles is not None:
        newest["image_grid_pinpoints"] = [[width, height] for height, width in config.tiles.pinpoints]
        newest["image_crop_resolution"] = newest["image_split_resolution"] = config.vision.image_size
        newest["mm_patch_merge_type"] = config.tiles.merge
    return newest


def _tell_template(raw: dict[str, Any], checkpoint: Checkpoint, config: LlavaConfig) -> None:
    """State the template where the content alone would speak for another, or the system text is one of its own."""
    raw.pop("llava", None)
    silent = replace(config, template=None, system=None)
    by_content = templates.get(template_by_family(raw, silent, checkpoint.tokenizer, "whole").name)
    if by_content.name != config.template or config.system is not None:
        raw["llava"] = {"template": config.template, "system": config.system}
