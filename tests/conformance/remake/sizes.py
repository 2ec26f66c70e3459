"""Names and shapes of a checkpoint's tensors at any size, and new random values for them.

Names are as the original's files have them: Llama's and MPT's language models, projectors, LoRA pairs, towers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel

Shape = tuple[int, ...]


def layered(names: Iterable[str], layers: int) -> list[str]:
    """The first set's names with another number of language layers."""
    made = []
    for name in names:
        place = re.search(r"\b(layers|blocks)\.(\d+)\.", name)
        if place is None or "vision" in name:
            made.append(name)
        elif place[2] == "0":
            made += [name.replace(place[0], f"{place[1]}.{layer}.", 1) for layer in range(layers)]
    return made


def shape(name: str, config: Mapping[str, Any], seen: int) -> Shape:
    """Of one tensor; `seen` is the tower's width."""
    if "d_model" in config:
        width = config["d_model"]
        inner, kv, half = width * config["expansion_ratio"], width, 0
    else:
        width, inner = config["hidden_size"], config["intermediate_size"]
        head = width // config["num_attention_heads"]
        kv, half = config.get("num_key_value_heads", config["num_attention_heads"]) * head, head // 2
    last = ".".join(name.split(".")[-2:])
    known: dict[str, Shape] = {
        "embed_tokens.weight": (config["vocab_size"], width),
        "lm_head.weight": (config["vocab_size"], width),
        "wte.weight": (config["vocab_size"], width),
        "q_proj.weight": (width, width),
        "k_proj.weight": (kv, width),
        "v_proj.weight": (kv, width),
        "o_proj.weight": (width, width),
        "gate_proj.weight": (inner, width),
        "up_proj.weight": (inner, width),
        "down_proj.weight": (width, inner),
        "rotary_emb.inv_freq": (half,),
        "Wqkv.weight": (3 * width, width),
        "out_proj.weight": (width, width),
        "mm_projector.weight": (width, seen),
        "mm_projector.bias": (width,),
        "0.weight": (width, seen),
        "0.bias": (width,),
        "2.weight": (width, width),
        "2.bias": (width,),
        "model.image_newline": (width,),
    }
    return known.get(last, (width,))  # the norms


def pair(name: str, config: Mapping[str, Any], seen: int, rank: int) -> Shape:
    """Of one half of a LoRA pair."""
    out, into = shape(re.sub(r"\.lora_[AB]", "", name), config, seen)
    return (rank, into) if ".lora_A." in name else (out, rank)


def random_tensor(name: str, size: Shape, numbers: torch.Generator, theta: float) -> Tensor:
    """Values that keep the size of what goes through; norms near one; logits of a few units."""
    noise = torch.randn(size, generator=numbers)
    made: Tensor = noise / (noise.numel() / size[0]) ** 0.5
    if name.endswith("inv_freq"):
        made = theta ** (-torch.arange(size[0]) / size[0])
    elif ".lora_B." in name:
        made *= 0.2
    elif len(size) == 1:
        is_norm = "norm" in name and name.endswith("weight")
        made = noise * 0.1 + (1 if is_norm else 0)
    elif name.endswith("lm_head.weight"):
        made *= 3
    elif name.endswith(("embed_tokens.weight", "wte.weight")):
        made = noise * 0.4
    return made


def random_tower(config: Mapping[str, Any], numbers: torch.Generator) -> dict[str, Tensor]:
    """A tower's tensors as its folder has them."""
    names = CLIPVisionModel(CLIPVisionConfig.from_dict(dict(config))).state_dict()
    made = {}
    for name, tensor in names.items():
        if "position_ids" not in name:
            full = f"vision_model.{name.removeprefix('vision_model.')}"
            made[full] = random_tensor(full, tuple(tensor.shape), numbers, 1.0)
    places = made["vision_model.embeddings.position_embedding.weight"].shape[0]
    return made | {"vision_model.embeddings.position_ids": torch.arange(places)[None]}
