"""Which checkpoints of other sizes the second set has. Only data; remade.py makes them.

Between them: more layers and fewer, grouped heads down to one, other head sizes and a count that is no power of two,
other widths, towers with other patches, sizes, activations and settings, other layers to look at, other vocabularies
and added tokens, ranks, tiles, rotary bases, every dtype, other limits, near ties, and more or less of an answer kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.conformance.remake.answers import Record

Kind = Literal["v0", "v1", "sqa", "mpt", "june-lora", "1.5", "1.6", "lora", "projector"]


@dataclass(frozen=True)
class TowerSpec:
    """A vision tower.

    Attributes:
        config: keys of config.json that differ from the first set's.
        preprocessing: those of preprocessor_config.json.
        form: of its weights.
    """

    config: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    form: str


@dataclass(frozen=True)
class BaseSpec:
    """A language model alone.

    Attributes:
        june: whether it is like June 2023's base, or like the newest's.
        sizes: keys of config.json that differ.
        form: of its weights.
        more: pieces added to the tokenizer.
    """

    june: bool
    sizes: Mapping[str, Any]
    form: str
    more: int


@dataclass(frozen=True)
class Spec:
    """A checkpoint.

    Attributes:
        kind: which of the first set's it is like.
        tower: its tower's name here.
        form: of its weights; "adapter" and "projector" for those that need a base.
        sizes: keys of config.json that differ.
        base: its base's name here; a whole checkpoint that has one gets a delta beside it.
        more: pieces added to the tokenizer, where it has its own.
        added: special tokens put before the other added ones.
        rank: an adapter's.
        stored: its weights' dtype.
        near: whether the token that ends its answers has a twin, nearly as likely everywhere.
        record: what its golden keeps.
    """

    kind: Kind
    tower: str
    form: str
    sizes: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None
    more: int = 0
    added: tuple[str, ...] = ()
    rank: int = 0
    stored: Literal["float16", "bfloat16", "float32"] = "float16"
    near: bool = False
    record: Record = field(default_factory=Record)


_HALF = [0.5, 0.5, 0.5]

TOWERS = {
    "small": TowerSpec(
        {
            "image_size": 60,
            "patch_size": 12,
            "hidden_size": 40,
            "num_attention_heads": 5,
            "num_hidden_layers": 3,
            "intermediate_size": 88,
        },
        {"size": {"shortest_edge": 60}, "crop_size": {"height": 60, "width": 60}, "image_mean": [0.4, 0.5, 0.6]},
        "safetensors",
    ),
    "fine": TowerSpec(
        {
            "image_size": 70,
            "patch_size": 10,
            "hidden_size": 56,
            "num_attention_heads": 4,
            "num_hidden_layers": 5,
            "intermediate_size": 100,
        },
        {
            "size": 70,
            "crop_size": 70,
            "image_mean": _HALF,
            "image_std": _HALF,
        },
        "bin*3",
    ),
    "square": TowerSpec(
        {
            "image_size": 64,
            "patch_size": 16,
            "hidden_size": 48,
            "num_attention_heads": 6,
            "num_hidden_layers": 2,
            "intermediate_size": 64,
            "hidden_act": "gelu",
        },
        {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}},
        "bin",
    ),
}

_JUNE = {"hidden_size": 96, "num_attention_heads": 6, "num_hidden_layers": 3, "intermediate_size": 200}

BASES = {
    "june": BaseSpec(True, _JUNE, "safetensors*2", 9),
    "another of its size": BaseSpec(True, _JUNE, "bin", 9),
    "newest": BaseSpec(
        False,
        {
            "hidden_size": 96,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "num_hidden_layers": 3,
            "intermediate_size": 160,
        },
        "bin*2",
        4,
    ),
}

SPECS = (
    Spec("v0", "small", "safetensors*3", base="june", added=("<mark>",)),
    Spec(
        "v1",
        "square",
        "bin*2",
        {
            "hidden_size": 48,
            "num_attention_heads": 3,
            "num_hidden_layers": 1,
            "intermediate_size": 80,
            "mm_vision_select_layer": -1,
        },
        more=11,
        near=True,
    ),
    Spec(
        "sqa",
        "fine",
        "safetensors*2",
        {
            "hidden_size": 80,
            "num_attention_heads": 5,
            "num_hidden_layers": 4,
            "intermediate_size": 112,
            "mm_vision_select_layer": -3,
        },
        more=2,
        stored="float32",
        record=Record(tokens=24, most=30, last=1, whole=False),
    ),
    Spec(
        "mpt",
        "small",
        "safetensors",
        {"d_model": 72, "n_heads": 6, "n_layers": 3, "mm_vision_select_layer": -1, "torch_dtype": "bfloat16"},
        more=6,
        stored="bfloat16",
        record=Record(tokens=40, last=3),
    ),
    Spec("june-lora", "square", "adapter", base="june", rank=5, record=Record(tokens=20, most=44, last=500)),
    Spec(
        "1.5",
        "fine",
        "bin*2",
        {
            "hidden_size": 64,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "num_hidden_layers": 1,
            "intermediate_size": 90,
            "rope_theta": 50000.0,
            "tokenizer_model_max_length": 150,
            "mm_vision_select_layer": -1,
        },
        more=5,
        record=Record(last=12, whole=False),
    ),
    Spec(
        "1.6",
        "fine",
        "safetensors*5",
        {
            "hidden_size": 80,
            "num_attention_heads": 5,
            "num_key_value_heads": 1,
            "num_hidden_layers": 3,
            "intermediate_size": 144,
            "rms_norm_eps": 1e-6,
            "image_grid_pinpoints": [[70, 140], [140, 70], [140, 140], [210, 70], [70, 210], [210, 140]],
            "image_crop_resolution": 70,
            "image_split_resolution": 70,
            "tokenizer_model_max_length": 400,
        },
        more=1,
        record=Record(tokens=48, most=24, last=5),
    ),
    Spec("lora", "small", "adapter", base="newest", rank=4),
    Spec("projector", "square", "projector", base="newest"),
)
