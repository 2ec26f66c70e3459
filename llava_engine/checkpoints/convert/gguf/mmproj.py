"""The vision tower and the projector of a checkpoint as a GGUF file: what llama.cpp calls an mmproj.

Keys and names of tensors are those of its tools/mtmd/clip-impl.h.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.convert.gguf.gguf_file import GgufTensor, Value, tensor
from llava_engine.checkpoints.layouts.folder_plan import used_tensors
from llava_engine.files.tensor_files import TensorSource
from llava_engine.model.config import LlavaConfig

_SINGLE = {
    "vision_tower.vision_model.embeddings.class_embedding": "v.class_embd",
    "vision_tower.vision_model.embeddings.patch_embedding.weight": "v.patch_embd.weight",
    "vision_tower.vision_model.embeddings.position_embedding.weight": "v.position_embd.weight",
    "vision_tower.vision_model.pre_layrnorm.weight": "v.pre_ln.weight",
    "vision_tower.vision_model.pre_layrnorm.bias": "v.pre_ln.bias",
    "image_newline": "v.image_newline",
}
_LAYER = re.compile(r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_IN_LAYER = {
    "layer_norm1": "ln1",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "layer_norm2": "ln2",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}
_SMALL = ("v.patch_embd.weight", "v.position_embd.weight")  # kept exact: they take a hundredth of the file
_PROJECTOR = "multi_modal_projector.linear_"


def layers_run(config: LlavaConfig) -> int:
    """How many of the tower's layers are computed for the hidden state that is projected."""
    layer, layers = config.vision_feature_layer, config.vision.num_hidden_layers
    return layer if layer >= 0 else layers + 1 + layer


def mmproj_keys(checkpoint: Checkpoint) -> dict[str, Value]:
    """The shape, and how a picture is made ready.

    The layers are as many as are run, and the last of them is named as the one to take: without a name llama.cpp leaves
    out one more (ggml-org/llama.cpp#25817).
    """
    config, vision, preprocessing = checkpoint.config, checkpoint.config.vision, checkpoint.preprocessing
    keys: dict[str, Value] = {
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
        "clip.use_gelu": vision.hidden_act == "gelu",
        "clip.vision.image_size": vision.image_size,
        "clip.vision.patch_size": vision.patch_size,
        "clip.vision.embedding_length": vision.hidden_size,
        "clip.vision.feed_forward_length": vision.intermediate_size,
        "clip.vision.block_count": layers_run(config),
        "clip.vision.feature_layer": [layers_run(config)],
        "clip.vision.attention.head_count": vision.num_attention_heads,
        "clip.vision.attention.layer_norm_epsilon": vision.layer_norm_eps,
        "clip.vision.projection_dim": config.language.hidden_size,
        "clip.vision.image_mean": [float(value) for value in preprocessing.mean],
        "clip.vision.image_std": [float(value) for value in preprocessing.std],
    }
    if config.tiles is not None:
        keys["clip.vision.mm_patch_merge_type"] = config.tiles.merge
        keys["clip.vision.image_grid_pinpoints"] = [
            side for height, width in config.tiles.pinpoints for side in (width, height)
        ]
    return keys


def mmproj_tensors(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[GgufTensor, ...]:
    """The weights, matrices in `dtype`: no layer that is not run, and not CLIP's last norm, which would be applied.

    Raises:
        ModelError: one is missing, unknown or misshapen.
    """
    source = checkpoint.tensors
    out = []
    for stored in used_tensors(checkpoint):
        name = _name(stored, layers_run(checkpoint.config))
        if name is not None:
            kept = torch.float32 if name in _SMALL else dtype
            out.append(tensor(name, source.tensors[stored].shape, kept, partial(source.read, stored)))
    return (*out, *_projector(checkpoint.config.projector, source, dtype))


def _name(stored: str, layers: int) -> str | None:
    """llama.cpp's name for a tensor of the tower; None for those of other parts, and for those that are not used."""
    if stored in _SINGLE:
        return _SINGLE[stored]
    found = _LAYER.fullmatch(stored)
    if found is None or int(found[1]) >= layers:
        return None
    return f"v.blk.{found[1]}.{_IN_LAYER[found[2]]}.{found[3]}"


def _projector(kind: str, source: TensorSource, dtype: torch.dtype) -> list[GgufTensor]:
    """Two layers with GELU between them, which is all that llama.cpp has.

    A projector without GELU is written as one with: gelu(x) - gelu(-x) is x, exactly, and so is it for the
    approximation of GELU by tanh. So the first layer gives x and -x, and the second takes their difference.
    """
    wide, deep = source.tensors[f"{_PROJECTOR}1.weight"].shape
    made: dict[str, tuple[tuple[int, ...], Callable[[], Tensor]]]
    if kind == "mlp2x_gelu":
        made = {
            f"{ours}.{part}": (source.tensors[stored].shape, partial(source.read, stored))
            for ours, theirs in (("mm.0", 1), ("mm.2", 2))
            for part in ("weight", "bias")
            for stored in [f"{_PROJECTOR}{theirs}.{part}"]
        }
    else:
        second, bias = f"{_PROJECTOR}2.weight", f"{_PROJECTOR}2.bias"
        last = wide if kind == "linear" else source.tensors[second].shape[0]
        made = {
            "mm.0.weight": ((2 * wide, deep), lambda: _with_negative(source.read(f"{_PROJECTOR}1.weight"), 0)),
            "mm.0.bias": ((2 * wide,), lambda: _with_negative(source.read(f"{_PROJECTOR}1.bias"), 0)),
            "mm.2.weight": (
                (last, 2 * wide),
                lambda: _with_negative(torch.eye(wide) if kind == "linear" else source.read(second), 1),
            ),
            "mm.2.bias": ((last,), lambda: torch.zeros(wide) if kind == "linear" else source.read(bias)),
        }
    return [tensor(name, shape, dtype, read) for name, (shape, read) in made.items()]


def _with_negative(weight: Tensor, dimension: int) -> Tensor:
    return torch.cat([weight, -weight], dimension)
