"""The shape of a LLaVA model, read from and written to the `config.json` of the Hugging Face LLaVA layout.

Keys that a config leaves out have the defaults that the layout gives them (llava-hf configs state only what differs
from LLaMA-7B and CLIP ViT-L/14). Our own key, `llava`, says which conversation template the weights were trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llava_engine.errors import ModelError


@dataclass(frozen=True)
class VisionConfig:
    """A CLIP vision tower (Radford et al. 2021); the defaults are ViT-L/14 at 336 pixels."""

    image_size: int = 336
    patch_size: int = 14
    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class LanguageConfig:
    """A language model of the Llama family (Touvron et al. 2023); the defaults are LLaMA-7B."""

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 32
    head_dim: int = 128
    max_position_embeddings: int = 2048
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    bos_token_id: int = 1
    eos_token_ids: tuple[int, ...] = (2,)


@dataclass(frozen=True)
class LlavaConfig:
    """Tower + projector + language model.

    Attributes:
        vision: the tower.
        language: the language model.
        projector: "mlp2x_gelu" (two linear layers with GELU between them, LLaVA-1.5) or "linear" (LLaVA v0, v1).
        vision_feature_layer: which hidden state of the tower is projected; 0 is the embeddings, -1 the last layer.
        keep_class_token: whether the tower's class token is projected too ("full") or dropped ("default").
        image_token_id: the id that holds a picture's place, once for each projected patch.
        template: name of the conversation template; None when the checkpoint does not say.
        system: system text that the weights were trained with; None for the template's own.
    """

    vision: VisionConfig
    language: LanguageConfig
    projector: str = "mlp2x_gelu"
    vision_feature_layer: int = -2
    keep_class_token: bool = False
    image_token_id: int = 32000
    template: str | None = None
    system: str | None = None

    @property
    def picture_tokens(self) -> int:
        """Tokens that one picture costs."""
        return self.vision.grid**2 + int(self.keep_class_token)

    @classmethod
    def from_hf(cls, raw: Mapping[str, Any]) -> LlavaConfig:
        """Read the parsed `config.json` of a `LlavaForConditionalGeneration`.

        Raises:
            ModelError: it is of another family, or a value is of the wrong type or not supported.
        """
        if raw.get("model_type") != "llava" or "text_config" not in raw or "vision_config" not in raw:
            found = raw.get("model_type", "nothing")
            raise ModelError(
                f"config.json describes {found!r}, not a LLaVA model in the Hugging Face layout.",
                "Give a folder with model_type 'llava', a text_config and a vision_config.",
            )
        strategy = raw.get("vision_feature_select_strategy", "default")
        layer = raw.get("vision_feature_layer", -2)
        if strategy not in ("default", "full"):
            raise ModelError(f"config.json: vision_feature_select_strategy is {strategy!r}, not 'default' or 'full'.")
        if not isinstance(layer, int):
            raise ModelError(f"config.json: vision_feature_layer is {layer!r}; only one layer is supported.")
        _expect(raw, "projector_hidden_act", "gelu")
        if not raw.get("multimodal_projector_bias", True):
            raise ModelError("config.json: a projector without bias is not supported.")
        own = raw.get("llava") or {}
        text = _section(raw, "text_config")
        return cls(
            vision=_vision(_section(raw, "vision_config")),
            language=_language(
                {**text, "tie_word_embeddings": raw.get("tie_word_embeddings", text.get("tie_word_embeddings", False))}
            ),
            projector=own.get("projector", "mlp2x_gelu"),
            vision_feature_layer=layer,
            keep_class_token=strategy == "full",
            image_token_id=_integer(raw, "image_token_id", _integer(raw, "image_token_index", 32000)),
            template=own.get("template"),
            system=own.get("system"),
        )

    def to_hf(self) -> dict[str, Any]:
        """The `config.json` that `from_hf` and `LlavaForConditionalGeneration` read."""
        vision, language = self.vision, self.language
        own: dict[str, Any] = {"template": self.template, "system": self.system}
        if self.projector != "mlp2x_gelu":
            own["projector"] = self.projector
        eos: int | list[int] = (
            list(language.eos_token_ids) if len(language.eos_token_ids) > 1 else language.eos_token_ids[0]
        )
        return {
            "architectures": ["LlavaForConditionalGeneration"],
            "model_type": "llava",
            "image_token_index": self.image_token_id,
            "image_seq_length": self.picture_tokens,
            "projector_hidden_act": "gelu",
            "multimodal_projector_bias": True,
            "vision_feature_layer": self.vision_feature_layer,
            "vision_feature_select_strategy": "full" if self.keep_class_token else "default",
            "tie_word_embeddings": language.tie_word_embeddings,
            "text_config": {
                "model_type": "llama",
                "vocab_size": language.vocab_size,
                "hidden_size": language.hidden_size,
                "intermediate_size": language.intermediate_size,
                "num_hidden_layers": language.num_hidden_layers,
                "num_attention_heads": language.num_attention_heads,
                "num_key_value_heads": language.num_key_value_heads,
                "head_dim": language.head_dim,
                "hidden_act": "silu",
                "max_position_embeddings": language.max_position_embeddings,
                "rms_norm_eps": language.rms_norm_eps,
                "rope_theta": language.rope_theta,
                "tie_word_embeddings": language.tie_word_embeddings,
                "bos_token_id": language.bos_token_id,
                "eos_token_id": eos,
            },
            "vision_config": {
                "model_type": "clip_vision_model",
                "image_size": vision.image_size,
                "patch_size": vision.patch_size,
                "hidden_size": vision.hidden_size,
                "intermediate_size": vision.intermediate_size,
                "num_hidden_layers": vision.num_hidden_layers,
                "num_attention_heads": vision.num_attention_heads,
                "hidden_act": vision.hidden_act,
                "layer_norm_eps": vision.layer_norm_eps,
            },
            "llava": own,
        }


def _vision(raw: Mapping[str, Any]) -> VisionConfig:
    _expect(raw, "model_type", "clip_vision_model")
    act = raw.get("hidden_act", "quick_gelu")
    if act not in ("quick_gelu", "gelu"):
        raise ModelError(f"config.json: the vision tower's hidden_act is {act!r}, not 'quick_gelu' or 'gelu'.")
    d = VisionConfig()
    return VisionConfig(
        image_size=_integer(raw, "image_size", 224),
        patch_size=_integer(raw, "patch_size", 32),
        hidden_size=_integer(raw, "hidden_size", 768),
        intermediate_size=_integer(raw, "intermediate_size", 3072),
        num_hidden_layers=_integer(raw, "num_hidden_layers", 12),
        num_attention_heads=_integer(raw, "num_attention_heads", 12),
        hidden_act=act,
        layer_norm_eps=_number(raw, "layer_norm_eps", d.layer_norm_eps),
    )


def _language(raw: Mapping[str, Any]) -> LanguageConfig:
    _expect(raw, "model_type", "llama")
    _expect(raw, "hidden_act", "silu")
    for bias in ("attention_bias", "mlp_bias"):
        if raw.get(bias):
            raise ModelError(f"config.json: {bias} is set; Llama models with biases are not supported.")
    rope = raw.get("rope_parameters") or {}
    scaling = raw.get("rope_scaling") or rope
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind != "default":
        raise ModelError(f"config.json: rotary scaling of type {kind!r} is not supported.")
    d = LanguageConfig()
    hidden = _integer(raw, "hidden_size", d.hidden_size)
    heads = _integer(raw, "num_attention_heads", d.num_attention_heads)
    eos = raw.get("eos_token_id", 2)
    return LanguageConfig(
        vocab_size=_integer(raw, "vocab_size", d.vocab_size),
        hidden_size=hidden,
        intermediate_size=_integer(raw, "intermediate_size", d.intermediate_size),
        num_hidden_layers=_integer(raw, "num_hidden_layers", d.num_hidden_layers),
        num_attention_heads=heads,
        num_key_value_heads=_integer(raw, "num_key_value_heads", heads),
        head_dim=_integer(raw, "head_dim", hidden // max(heads, 1)),
        max_position_embeddings=_integer(raw, "max_position_embeddings", d.max_position_embeddings),
        rope_theta=_number(raw, "rope_theta", rope.get("rope_theta", d.rope_theta)),
        rms_norm_eps=_number(raw, "rms_norm_eps", d.rms_norm_eps),
        tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
        bos_token_id=_integer(raw, "bos_token_id", 1),
        eos_token_ids=tuple(eos) if isinstance(eos, list) else (2 if eos is None else int(eos),),
    )


def _section(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw[key]
    if not isinstance(value, Mapping):
        raise ModelError(f"config.json: {key} is not an object.")
    return value


def _expect(raw: Mapping[str, Any], key: str, value: str) -> None:
    if raw.get(key, value) != value:
        raise ModelError(f"config.json: {key} is {raw[key]!r}; only {value!r} is supported.")


def _integer(raw: Mapping[str, Any], key: str, default: int) -> int:
    value = raw.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ModelError(f"config.json: {key} is {value!r}, not a whole number.")
    return value


def _number(raw: Mapping[str, Any], key: str, default: float) -> float:
    value = raw.get(key)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ModelError(f"config.json: {key} is {value!r}, not a number.")
    return float(value)
