"""`config.json` of the original LLaVA layouts (April 2023 to 1.6) -> `LlavaConfig`.

The original keeps the language model's keys at the top and its own under `mm_…`; the tower's are in the tower's folder.
Which keys there are tells the generations apart; `model_type` is "llava" for three of them. Knows no tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llava_engine.checkpoints.layouts.hf.config import (
    OTHER_MODEL,
    OWN_CONFIG,
    eos_token_ids,
    integer,
    language_config,
    number,
    own_keys,
    pinpoints,
    section,
)
from llava_engine.errors import ModelError
from llava_engine.model.config import LanguageConfig, LlavaConfig, MptConfig, PatchMerge, TilesConfig, VisionConfig

_MERGES: dict[str, PatchMerge] = {"flat": "flat", "spatial": "spatial", "spatial_unpad": "spatial_unpad"}
PLACEHOLDER = -200  # IMAGE_TOKEN_INDEX of the newest code: stands in the ids where a picture goes


def is_original(raw: Mapping[str, Any]) -> bool:
    """Whether a config is of the original LLaVA: it names a vision tower or how pictures are projected."""
    return "text_config" not in raw and any(key in raw for key in ("mm_vision_tower", "mm_hidden_size", "use_mm_proj"))


def language_from(raw: Mapping[str, Any]) -> LanguageConfig | MptConfig:
    """The language model at the top of an original config, or of a base model's. Raises `ModelError`."""
    if "d_model" in raw:
        return _mpt(raw)
    # The original's own types (llava, llava_llama, llava_mistral) are all of the Llama family.
    return language_config({**raw, "model_type": "llama"})


def from_original(raw: Mapping[str, Any], vision: VisionConfig) -> LlavaConfig:
    """Read a parsed original `config.json`.

    Args:
        raw: the file's content.
        vision: the tower that it names.

    Raises:
        ModelError: a value is of the wrong type or not supported.
    """
    kind = raw.get("mm_projector_type", "linear")
    if kind not in ("linear", "mlp2x_gelu"):
        raise ModelError(f"config.json: mm_projector_type is {kind!r}; known: linear, mlp2x_gelu.", OTHER_MODEL)
    select = raw.get("mm_vision_select_feature", "patch")
    if select not in ("patch", "cls_patch"):
        raise ModelError(
            f"config.json: mm_vision_select_feature is {select!r}, not 'patch' or 'cls_patch'.", OTHER_MODEL
        )
    layer = raw.get("mm_vision_select_layer", -1)
    if not isinstance(layer, int) or isinstance(layer, bool):
        raise ModelError(f"config.json: mm_vision_select_layer is {layer!r}, not a whole number.", OWN_CONFIG)
    width = integer(raw, "mm_hidden_size", vision.hidden_size)
    if width != vision.hidden_size:
        raise ModelError(
            f"config.json: mm_hidden_size is {width}, and the vision tower's features are {vision.hidden_size} wide.",
            "Give the tower that the model was trained with: --tower FOLDER.",
        )
    own = own_keys(raw)  # ours, where content alone would say another template
    return LlavaConfig(
        vision=vision,
        language=language_from(raw),
        projector=kind,
        vision_feature_layer=layer,
        keep_class_token=select == "cls_patch",
        tiles=_tiles(raw),
        image_token_id=PLACEHOLDER,
        template=own.get("template"),
        system=own.get("system"),
        wrap_pictures=bool(raw.get("mm_use_im_start_end", False)),
    )


def aspect_ratio(raw: Mapping[str, Any]) -> str:
    """What becomes of pictures that are not square: "square" (cut), "pad" or "anyres". Raises `ModelError`."""
    aspect = raw.get("image_aspect_ratio") or "square"
    if aspect not in ("square", "pad", "anyres"):
        raise ModelError(f"config.json: image_aspect_ratio is {aspect!r}; known: square, pad, anyres.", OTHER_MODEL)
    return str(aspect)


def _tiles(raw: Mapping[str, Any]) -> TilesConfig | None:
    if aspect_ratio(raw) != "anyres":
        return None
    merge = raw.get("mm_patch_merge_type", "flat")
    if not isinstance(merge, str) or merge not in _MERGES:
        raise ModelError(f"config.json: mm_patch_merge_type is {merge!r}; known: {', '.join(_MERGES)}.", OTHER_MODEL)
    listed = raw.get("image_grid_pinpoints")
    if isinstance(listed, str) and re.fullmatch(r"[\s\d,()\[\]]{1,10000}", listed):
        listed = [[int(across), int(down)] for across, down in re.findall(r"[(\[]\s*(\d+)\s*,\s*(\d+)\s*[)\]]", listed)]
    # The original writes (width, height), Hugging Face (height, width).
    turned = tuple((height, width) for width, height in pinpoints(listed))
    return TilesConfig(turned, _MERGES[merge], rounded=False)


def _mpt(raw: Mapping[str, Any]) -> MptConfig:
    attention = section(raw, "attn_config") if raw.get("attn_config") else {}
    wanted: dict[str, tuple[Any, Any, Any]] = {
        "attn_config.alibi": (attention.get("alibi"), True, False),
        "attn_config.attn_type": (attention.get("attn_type"), "multihead_attention", "multihead_attention"),
        "attn_config.clip_qkv": (attention.get("clip_qkv"), None, None),
        "attn_config.qk_ln": (attention.get("qk_ln"), False, False),
        "attn_config.prefix_lm": (attention.get("prefix_lm"), False, False),
        "attn_config.softmax_scale": (attention.get("softmax_scale"), None, None),
        "no_bias": (raw.get("no_bias"), True, False),
        "logit_scale": (raw.get("logit_scale"), None, None),
    }
    for key, (value, supported, default) in wanted.items():
        value = default if value is None else value
        if value != supported:
            raise ModelError(
                f"config.json: {key} is {value!r}; an MPT is supported only with {supported!r}.", OTHER_MODEL
            )
    if "layernorm" not in str(raw.get("norm_type", "low_precision_layernorm")):
        raise ModelError(f"config.json: norm_type {raw['norm_type']!r} is not supported.", OTHER_MODEL)
    d = MptConfig()
    width = integer(raw, "d_model", d.hidden_size)
    heads = integer(raw, "n_heads", d.num_attention_heads)
    if heads < 1 or width % heads:
        raise ModelError(
            f"config.json: d_model {width} can not be shared out among {heads} heads (n_heads).", OWN_CONFIG
        )
    bias_max = number(attention, "alibi_bias_max", d.alibi_bias_max)
    if not 0 <= bias_max <= 1000:
        raise ModelError(f"config.json: attn_config.alibi_bias_max is {bias_max}, not between 0 and 1000.", OWN_CONFIG)
    return MptConfig(
        vocab_size=integer(raw, "vocab_size", d.vocab_size),
        hidden_size=width,
        intermediate_size=width * integer(raw, "expansion_ratio", 4),
        num_hidden_layers=integer(raw, "n_layers", d.num_hidden_layers),
        num_attention_heads=heads,
        max_position_embeddings=integer(raw, "max_seq_len", d.max_position_embeddings),
        alibi_bias_max=bias_max,
        layer_norm_eps=number(raw, "layer_norm_epsilon", d.layer_norm_eps),
        bos_token_id=integer(raw, "bos_token_id", 0),
        eos_token_ids=eos_token_ids(raw, 0),
    )
