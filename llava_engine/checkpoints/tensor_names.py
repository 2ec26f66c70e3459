"""The key table between the names of tensors in LLaVA checkpoints and our modules: strict and reversible.

`canonical` brings the spellings of all layouts (the original's of every generation, Hugging Face's of every version)
to one, that of the released llava-hf checkpoints; `sources` says of which of these one of our parameters is made
(stacked along the rows). Knows names only, and reads no tensor.
"""

from __future__ import annotations

import re

from llava_engine.files.tensor_files import TensorSource
from llava_engine.model.config import LanguageConfig, LlavaConfig, MptConfig

# The tables with a row for each token: the embeddings of the Llama family and of an MPT, and the head of both.
EMBEDDINGS = ("language_model.model.embed_tokens.weight", "language_model.transformer.wte.weight")
HEAD = "language_model.lm_head.weight"

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
_MPT_LAYER = {
    "norm_1": ("norm_1",),
    "attention.qkv": ("attn.Wqkv",),
    "attention.out": ("attn.out_proj",),
    "norm_2": ("norm_2",),
    "mlp.up": ("ffn.up_proj",),
    "mlp.down": ("ffn.down_proj",),
}
_MPT_SINGLE = {
    "language_model.embed_tokens.weight": EMBEDDINGS[1],
    "language_model.norm.weight": "language_model.transformer.norm_f.weight",
    "language_model.lm_head.weight": HEAD,
}
_SINGLE = {
    "image_newline": "image_newline",
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
    "language_model.embed_tokens.weight": EMBEDDINGS[0],
    "language_model.norm.weight": "language_model.model.norm.weight",
    "language_model.lm_head.weight": HEAD,
}

# Tensors that a checkpoint may hold and we do not need, and why.
IGNORED = {
    r"language_model\.model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq": "a table that is computed from rope_theta",
    r"vision_tower\.vision_model\.embeddings\.position_ids": "0, 1, 2, …",
}

# The projector in the original layout: linear (v0, v1) or torch's Sequential of linear, GELU, linear (1.5).
_ORIGINAL_PROJECTOR = {
    "mm_projector.weight": "multi_modal_projector.linear_1.weight",
    "mm_projector.bias": "multi_modal_projector.linear_1.bias",
    "mm_projector.0.weight": "multi_modal_projector.linear_1.weight",
    "mm_projector.0.bias": "multi_modal_projector.linear_1.bias",
    "mm_projector.2.weight": "multi_modal_projector.linear_2.weight",
    "mm_projector.2.bias": "multi_modal_projector.linear_2.bias",
}


# What libraries put around a model, and so before its tensors' names or between their parts: torch.compile,
# DataParallel and DeepSpeed, PEFT, FSDP, activation checkpointing.
_AROUND = re.compile(
    r"^(?:(?:_orig_mod|module|base_model\.model|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+"
    r"|(?<=\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)


def unwrapped(name: str) -> str:
    """A stored name without what libraries put around the model that they saved, however often."""
    return _AROUND.sub("", name)


def canonical(name: str) -> str:
    """A stored name in the spelling of the released llava-hf checkpoints; an unknown one comes back nearly as it was.

    The original writes `model.layers…`, `model.mm_projector…`, `transformer.blocks…` (MPT) and, where the tower is
    inside, `model.vision_tower.vision_model…` (June 2023) or `model.vision_tower.vision_tower.vision_model…`.
    transformers 4.52 and later keep `model.language_model…` in memory, transformers 5 drops CLIP's `vision_model`
    level; files with either spelling exist.
    """
    name = unwrapped(name)
    if name == "lm_head.weight":
        return HEAD
    name = name.removeprefix("model.")
    if name.startswith("transformer."):
        inner = name.removeprefix("transformer.")
        if not inner.startswith(("mm_projector.", "vision_tower.")):
            return f"language_model.{name}"
        name = inner
    if name in _ORIGINAL_PROJECTOR:
        return _ORIGINAL_PROJECTOR[name]
    if name.startswith(("layers.", "embed_tokens.", "norm.")):
        return f"language_model.model.{name}"
    if name.startswith("vision_tower."):
        inner = name.removeprefix("vision_tower.").removeprefix("vision_tower.").removeprefix("vision_model.")
        return f"vision_tower.vision_model.{inner}"
    if name.startswith("language_model.") and not name.startswith(
        ("language_model.model.", "language_model.lm_head.", "language_model.transformer.")
    ):
        return "language_model.model." + name.removeprefix("language_model.")
    return name


def original(name: str, config: LlavaConfig) -> str:
    """A canonical name as the original layout of this model's generation has it: `canonical` turned round.

    The tower is where the newest code keeps one that was trained further.
    """
    top = "transformer." if isinstance(config.language, MptConfig) else "model."
    if name.startswith("multi_modal_projector."):
        dots = 1 if config.projector == "linear" else 2  # mm_projector.weight, mm_projector.0.weight
        return top + next(old for old, new in _ORIGINAL_PROJECTOR.items() if new == name and old.count(".") == dots)
    if name.startswith("vision_tower."):
        return f"{top}vision_tower.{name}"
    if name == "image_newline":
        return top + name
    return name.removeprefix("language_model.")


def sources(config: LlavaConfig, parameter: str) -> tuple[str, ...]:
    """Of which stored tensors (canonical names) a parameter of `LlavaModel` is made, in row order."""
    mpt = isinstance(config.language, MptConfig)
    if mpt and parameter in _MPT_SINGLE:
        return (_MPT_SINGLE[parameter],)
    if parameter in _SINGLE:
        return (_SINGLE[parameter],)
    for ours, theirs, table in (
        ("vision_tower.layers.", "vision_tower.vision_model.encoder.layers.", _VISION_LAYER),
        ("language_model.layers.", "language_model.transformer.blocks.", _MPT_LAYER)
        if mpt
        else ("language_model.layers.", "language_model.model.layers.", _LANGUAGE_LAYER),
    ):
        if parameter.startswith(ours):
            index, rest = parameter.removeprefix(ours).split(".", 1)
            module, kind = rest.rsplit(".", 1)
            return tuple(f"{theirs}{index}.{name}.{kind}" for name in table[module])
    raise KeyError(parameter)


def rows(config: LlavaConfig, parameter: str) -> tuple[int, ...] | None:
    """How many rows of a stacked parameter come from each of its sources; None when it has only one source."""
    language = config.language
    if isinstance(language, LanguageConfig):
        if parameter.startswith("language_model.") and ".attention.qkv." in parameter:
            kv = language.num_key_value_heads * language.head_dim
            return language.num_attention_heads * language.head_dim, kv, kv
        if ".mlp.gate_up." in parameter:
            return language.intermediate_size, language.intermediate_size
    if parameter.startswith("vision_tower.") and ".qkv." in parameter:
        return (config.vision.hidden_size,) * 3
    return None


def embeddings_in(tensors: TensorSource) -> str:
    """The name of a language model's embeddings among its tensors; "" where it has none."""
    stored = tensors.tensors
    return next((name for name in EMBEDDINGS if name in stored and len(stored[name].shape) == 2), "")


def ignored_because(name: str) -> str | None:
    """Why we knowingly leave out a canonical name; None for one that we need or do not know."""
    return next((reason for pattern, reason in IGNORED.items() if re.fullmatch(pattern, name)), None)
