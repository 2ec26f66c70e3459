"""Tiny random checkpoints in the original's own layouts, written by hand: names and config keys are its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.llava_engine.tiny import LETTERS, SPECIALS, tokenizer_files

WIDTH, INNER, LAYERS, HEADS = 32, 40, 2, 4
SEES, SEES_INNER, SEES_LAYERS, SIDE, PATCH = 16, 24, 3, 28, 14
ROWS = len(SPECIALS) - 1 + 256 + len(LETTERS)  # without <image>, which no original tokenizer has

LLAMA = {
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EYES = {"mm_hidden_size": SEES, "mm_vision_select_layer": -2, "mm_vision_tower": "somewhere/eyes", "use_mm_proj": True}
JUNE = {"model_type": "llava", **LLAMA, **EYES}
NEWEST = {
    "model_type": "llava_llama",
    **LLAMA,
    **EYES,
    "mm_projector_type": "mlp2x_gelu",
    "mm_use_im_patch_token": False,
}


def language(rows: int, seed: int = 0) -> dict[str, Tensor]:
    """A Llama's tensors."""
    draw = _Draw(seed)
    tensors = {
        "model.embed_tokens.weight": draw(rows, WIDTH, scale=0.5),
        "model.norm.weight": 1 + draw(WIDTH),
        "lm_head.weight": draw(rows, WIDTH),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        for name in ("q", "k", "v", "o"):
            tensors[f"{at}self_attn.{name}_proj.weight"] = draw(WIDTH, WIDTH)
        tensors[f"{at}mlp.gate_proj.weight"] = draw(INNER, WIDTH)
        tensors[f"{at}mlp.up_proj.weight"] = draw(INNER, WIDTH)
        tensors[f"{at}mlp.down_proj.weight"] = draw(WIDTH, INNER)
        tensors[f"{at}input_layernorm.weight"] = 1 + draw(WIDTH)
        tensors[f"{at}post_attention_layernorm.weight"] = 1 + draw(WIDTH)
    return tensors


def projector(layers: int, seed: int = 1) -> dict[str, Tensor]:
    """A linear projector's tensors (1), or those of one with two layers (2)."""
    draw = _Draw(seed)
    if layers == 1:
        return {"model.mm_projector.weight": draw(WIDTH, SEES), "model.mm_projector.bias": draw(WIDTH)}
    return {
        "model.mm_projector.0.weight": draw(WIDTH, SEES),
        "model.mm_projector.0.bias": draw(WIDTH),
        "model.mm_projector.2.weight": draw(WIDTH, WIDTH),
        "model.mm_projector.2.bias": draw(WIDTH),
    }


def tower(prefix: str = "", seed: int = 2) -> dict[str, Tensor]:
    """A CLIP vision tower's tensors."""
    draw = _Draw(seed)
    patches = (SIDE // PATCH) ** 2
    tensors = {
        "embeddings.class_embedding": draw(SEES),
        "embeddings.patch_embedding.weight": draw(SEES, 3, PATCH, PATCH),
        "embeddings.position_embedding.weight": draw(patches + 1, SEES),
        "embeddings.position_ids": torch.arange(patches + 1)[None],
    }
    norms = ["pre_layrnorm", "post_layernorm"]
    for layer in range(SEES_LAYERS):
        at = f"encoder.layers.{layer}."
        norms += [f"{at}layer_norm1", f"{at}layer_norm2"]
        for name, out, into in (
            *((f"self_attn.{part}_proj", SEES, SEES) for part in ("q", "k", "v", "out")),
            ("mlp.fc1", SEES_INNER, SEES),
            ("mlp.fc2", SEES, SEES_INNER),
        ):
            tensors[f"{at}{name}.weight"], tensors[f"{at}{name}.bias"] = draw(out, into), draw(out)
    for name in norms:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = 1 + draw(SEES), draw(SEES)
    return {f"{prefix}vision_model.{name}": tensor for name, tensor in tensors.items()}


def write(
    folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], *, added: tuple[str, ...] = (), names: bool = True
) -> Path:
    """A checkpoint folder; `added` are tokens beyond the base's, `names` is whether it has a tokenizer."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    if tensors:
        save_file(tensors, folder / "model.safetensors")
    if names:
        tokenizer_files(folder, [*SPECIALS[:3]], added)
    return folder


def write_tower(folder: Path, seed: int = 2) -> Path:
    """A tower's own folder, in the form of a CLIP vision model."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "clip_vision_model",
        "hidden_size": SEES,
        "intermediate_size": SEES_INNER,
        "num_hidden_layers": SEES_LAYERS,
        "num_attention_heads": 1,
        "image_size": SIDE,
        "patch_size": PATCH,
    }
    (folder / "config.json").write_text(json.dumps(config))
    pictures = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    save_file(tower(seed=seed), folder / "model.safetensors")
    return folder


class _Draw:
    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int, scale: float = 0.15) -> Tensor:
        return scale * torch.randn(shape, generator=self._generator)
