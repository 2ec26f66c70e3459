"""PEFT's names for what it wraps around a model's layers -> the names that the layers have without it.

A layer X with a LoRA keeps its own weight as `X.base_layer.weight`; one that is trained whole is
`X.modules_to_save.NAME`, beside its untouched `X.original_module`; NAME is the adapter's, mostly "default", and is left
out in PEFT's own files. Knows names only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llava_engine.checkpoints.tensor_names import unwrapped

_LOW_RANK = re.compile(
    r"(?P<module>.+?)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector"
    r"|(?:token_adapter\.)?trainable_tokens_delta)(?P<rest>(?:\.[^.]+)*)"
)


@dataclass(frozen=True)
class LowRankName:
    """One of the tensors that stand for the change of a layer.

    Attributes:
        module: the layer.
        part: "lora_A", "lora_B", …
        bias: whether it is the bias of that part, which only `lora_bias` gives it.
    """

    module: str
    part: str
    bias: bool


def low_rank_name(name: str) -> LowRankName | None:
    """What a tensor of a change is called; None for any other tensor."""
    found = _LOW_RANK.fullmatch(_without_layers(unwrapped(name)))
    if found is None:
        return None
    return LowRankName(found["module"], found["part"], found["rest"].endswith(".bias"))


def plain_name(name: str) -> str:
    """The name of a tensor that was trained whole, or goes along, as the model has it."""
    return re.sub(r"\.modules_to_save(\.default)?\.", ".", _without_layers(unwrapped(name)))


def is_base_copy(name: str) -> bool:
    """Whether a tensor is the base's own, kept beside the one that was trained in its place."""
    return ".original_module." in name


def _without_layers(name: str) -> str:
    return re.sub(r"(\.token_adapter)?(\.base_layer)+(?=\.)", "", name)
