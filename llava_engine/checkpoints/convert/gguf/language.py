"""The language model of a checkpoint as a GGUF file: llama.cpp's architecture `llama`, or `mpt`.

Keys and names of tensors are those of llama.cpp's own converter. Knows no tokenizer.
"""

from __future__ import annotations

import re
from functools import partial

import torch
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.convert.gguf.gguf_file import GgufTensor, Value, tensor
from llava_engine.checkpoints.layouts.folder_plan import used_tensors
from llava_engine.checkpoints.tensor_names import EMBEDDINGS, HEAD
from llava_engine.files.tensor_files import TensorSource
from llava_engine.model.config import LanguageConfig, MptConfig

_SINGLE = {
    EMBEDDINGS[0]: "token_embd",
    EMBEDDINGS[1]: "token_embd",
    "language_model.model.norm.weight": "output_norm",
    "language_model.transformer.norm_f.weight": "output_norm",
    HEAD: "output",
}
_LAYER = re.compile(r"language_model\.(?:model\.layers|transformer\.blocks)\.(\d+)\.(.+)\.weight")
_IN_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    # MPT
    "norm_1": "attn_norm",
    "attn.Wqkv": "attn_qkv",
    "attn.out_proj": "attn_output",
    "norm_2": "ffn_norm",
    "ffn.up_proj": "ffn_up",
    "ffn.down_proj": "ffn_down",
}


def architecture(config: LanguageConfig | MptConfig) -> str:
    """What llama.cpp calls a language model of this kind."""
    return "mpt" if isinstance(config, MptConfig) else "llama"


def language_keys(config: LanguageConfig | MptConfig) -> dict[str, Value]:
    """The shape, as llama.cpp's keys."""
    keys: dict[str, Value] = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
    }
    if isinstance(config, MptConfig):
        keys["attention.layer_norm_epsilon"] = config.layer_norm_eps
        keys["attention.max_alibi_bias"] = config.alibi_bias_max
    else:
        keys["attention.layer_norm_rms_epsilon"] = config.rms_norm_eps
        keys["rope.freq_base"] = config.rope_theta
        keys["rope.dimension_count"] = config.head_dim
        if config.head_dim * config.num_attention_heads != config.hidden_size:
            keys["attention.key_length"] = keys["attention.value_length"] = config.head_dim
    return {f"{architecture(config)}.{name}": value for name, value in keys.items()}


def language_tensors(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[GgufTensor, ...]:
    """The weights, matrices in `dtype`.

    Raises:
        ModelError: one is missing, unknown or misshapen.
    """
    config, source = checkpoint.config.language, checkpoint.tensors
    out = []
    for stored in used_tensors(checkpoint):
        name = _name(stored)
        if name is None:
            continue
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(name.split(".")[-2])
        read = partial(source.read, stored) if heads is None else partial(_turned, source, stored, heads)
        out.append(tensor(name, source.tensors[stored].shape, dtype, read))
    return tuple(out)


def _name(stored: str) -> str | None:
    """llama.cpp's name for a tensor of the language model; None for those of the other parts."""
    if stored in _SINGLE:
        return f"{_SINGLE[stored]}.weight"
    found = _LAYER.fullmatch(stored)
    return f"blk.{found[1]}.{_IN_LAYER[found[2]]}.weight" if found else None


def _turned(source: TensorSource, stored: str, heads: int) -> Tensor:
    """A matrix of queries or keys with the rows of each head in llama.cpp's order.

    It turns neighbouring rows (2i, 2i + 1) by one angle, where the Llama of Hugging Face turns rows (i, i + d/2).
    """
    weight = source.read(stored)
    return weight.view(heads, 2, -1, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)
