"""The key table between checkpoints in the Hugging Face LLaVA layout and our modules: strict and reversible.

`sources` says of which stored tensors one of our parameters is made (stacked along the rows); `canonical` brings the
spellings that different versions of the layout use to one. Knows names only: no files, no tensors.
"""

from __future__ import annotations

import re

from llava_engine.model.config import LlavaConfig

# What a parameter of ours is called in the layout as released (llava-hf/llava-1.5-*); several names: rows, stacked.
_VISION_LAYER = {
    "layer_norm1": ("layer_norm1",),
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.out_proj",),
    "layer_norm2": ("layer_norm2",),
    "fc1": ("mlp.fc1",),
    "fc2": ("mlp.fc2",),
}
_LANGUAGE_LAYER = {
    "input_layernorm": ("input_layernorm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": ("self_attn.o_proj",),
    "post_attention_layernorm": ("post_attention_layernorm",),
    "mlp.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down": ("mlp.down_proj",),
}
_SINGLE = {
    "vision_tower.class_embedding": "vision_tower.vision_model.embeddings.class_embedding",
    "vision_tower.patch_embedding": "vision_tower.vision_model.embeddings.patch_embedding.weight",
    "vision_tower.position_embedding": "vision_tower.vision_model.embeddings.position_embedding.weight",
    "vision_tower.pre_layernorm.weight": "vision_tower.vision_model.pre_layrnorm.weight",  # CLIP's own spelling
    "vision_tower.pre_layernorm.bias": "vision_tower.vision_model.pre_layrnorm.bias",
    "vision_tower.post_layernorm.weight": "vision_tower.vision_model.post_layernorm.weight",
    "vision_tower.post_layernorm.bias": "vision_tower.vision_model.post_layernorm.bias",
    "projector.linear_1.weight": "multi_modal_projector.linear_1.weight",
    "projector.linear_1.bias": "multi_modal_projector.linear_1.bias",
    "projector.linear_2.weight": "multi_modal_projector.linear_2.weight",
    "projector.linear_2.bias": "multi_modal_projector.linear_2.bias",
    "language_model.embed_tokens.weight": "language_model.model.embed_tokens.weight",
    "language_model.norm.weight": "language_model.model.norm.weight",
    "language_model.lm_head.weight": "language_model.lm_head.weight",
}

# Tensors that a checkpoint may hold and we do not need, and why.
IGNORED = {
    r"language_model\.model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq": "a table that is computed from rope_theta",
    r"vision_tower\.vision_model\.embeddings\.position_ids": "0, 1, 2, …",
}


def canonical(name: str) -> str:
    """A stored name in the spelling of the released llava-hf checkpoints.

    transformers 4.52 and later keep `model.language_model.…` in memory, transformers 5 drops CLIP's `vision_model`
    level; files with either spelling exist.
    """
    if name == "lm_head.weight":
        return "language_model.lm_head.weight"
    name = name.removeprefix("model.")
    if name.startswith("vision_tower.") and not name.startswith("vision_tower.vision_model."):
        return "vision_tower.vision_model." + name.removeprefix("vision_tower.")
    if name.startswith("language_model.") and not name.startswith(("language_model.model.", "language_model.lm_head.")):
        return "language_model.model." + name.removeprefix("language_model.")
    return name


def sources(parameter: str) -> tuple[str, ...]:
    """Of which stored tensors (canonical names) a parameter of `LlavaModel` is made, in row order."""
    if parameter in _SINGLE:
        return (_SINGLE[parameter],)
    for ours, theirs, table in (
        ("vision_tower.layers.", "vision_tower.vision_model.encoder.layers.", _VISION_LAYER),
        ("language_model.layers.", "language_model.model.layers.", _LANGUAGE_LAYER),
    ):
        if parameter.startswith(ours):
            index, rest = parameter.removeprefix(ours).split(".", 1)
            module, kind = rest.rsplit(".", 1)
            return tuple(f"{theirs}{index}.{name}.{kind}" for name in table[module])
    raise KeyError(parameter)


def rows(config: LlavaConfig, parameter: str) -> tuple[int, ...] | None:
    """How many rows of a stacked parameter come from each of its sources; None when it has only one source."""
    if parameter.startswith("language_model.") and ".attention.qkv." in parameter:
        language = config.language
        kv = language.num_key_value_heads * language.head_dim
        return language.num_attention_heads * language.head_dim, kv, kv
    if ".mlp.gate_up." in parameter:
        return config.language.intermediate_size, config.language.intermediate_size
    if parameter.startswith("vision_tower.") and ".qkv." in parameter:
        return (config.vision.hidden_size,) * 3
    return None


def is_ignored(name: str) -> bool:
    """Whether a canonical name is one that we knowingly leave out."""
    return any(re.fullmatch(pattern, name) for pattern in IGNORED)
