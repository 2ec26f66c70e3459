"""`config.json` of the Hugging Face LLaVA layouts (LLaVA 1.5 and NeXT) -> `LlavaConfig`, and back.

Keys that a config leaves out have the defaults that the layout gives them (llava-hf configs state only what differs
from LLaMA-7B and CLIP ViT-L/14). Our own key, `llava`, says which conversation template the weights were trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llava_engine.errors import ModelError
from llava_engine.model.config import LanguageConfig, LlavaConfig, MptConfig, TilesConfig, VisionConfig

LLAMA_LIKE = ("llama", "mistral")

# What to do about a config that can not be followed: it is broken, or of a kind that we do not compute.
OWN_CONFIG = "Take the model's own config.json."
OTHER_MODEL = "llava does not run this kind; the models that it runs: llava models list."
_OTHER_FAMILY = "Only chat, ask and serve take other families (docs/other-models.md); LLaVAs: llava models list."


def from_hf(raw: Mapping[str, Any]) -> LlavaConfig:
    """Read the parsed `config.json` of a `LlavaForConditionalGeneration` or `LlavaNextForConditionalGeneration`.

    Raises:
        ModelError: it is of another family, or a value is of the wrong type or not supported.
    """
    family = raw.get("model_type")
    if family == "llava_onevision":
        raise ModelError("This is a LLaVA-OneVision (Qwen2 and SigLIP), and no LLaVA 1.5 or NeXT.", _OTHER_FAMILY)
    if family not in ("llava", "llava_next") or "text_config" not in raw or "vision_config" not in raw:
        raise ModelError(
            f"config.json describes {family or 'nothing'!r}, not a LLaVA model in the Hugging Face layout.",
            _OTHER_FAMILY,
        )
    strategy = raw.get("vision_feature_select_strategy", "default")
    layer = raw.get("vision_feature_layer", -2)
    if strategy not in ("default", "full"):
        raise ModelError(
            f"config.json: vision_feature_select_strategy is {strategy!r}, not 'default' or 'full'.", OTHER_MODEL
        )
    if type(layer) is not int:
        raise ModelError(f"config.json: vision_feature_layer is {layer!r}; only one layer is supported.", OTHER_MODEL)
    act = raw.get("projector_hidden_act", "gelu")
    if act not in ("gelu", "linear"):
        raise ModelError(f"config.json: projector_hidden_act is {act!r}, not 'gelu' or 'linear'.", OTHER_MODEL)
    if not raw.get("multimodal_projector_bias", True):
        raise ModelError("config.json: a projector without bias is not supported.", OTHER_MODEL)
    own = own_keys(raw)
    text = section(raw, "text_config")
    tied = raw.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    return LlavaConfig(
        vision=vision_config(section(raw, "vision_config")),
        language=language_config({**text, "tie_word_embeddings": tied}),
        projector=own.get("projector") or ("mlp2x_gelu" if act == "gelu" else "mlp2x_linear"),
        vision_feature_layer=layer,
        keep_class_token=strategy == "full",
        tiles=_tiles(raw) if family == "llava_next" else None,
        image_token_id=integer(raw, "image_token_id", integer(raw, "image_token_index", 32000)),
        template=own.get("template"),
        system=own.get("system"),
        wrap_pictures=own.get("wrap_pictures"),
    )


def to_hf(config: LlavaConfig) -> dict[str, Any]:
    """The `config.json` that `from_hf` and transformers' classes read.

    Raises:
        ModelError: the layout has no place for this model (an MPT).
    """
    vision, language = config.vision, config.language
    if isinstance(language, MptConfig):
        raise ModelError("The Hugging Face LLaVA layout has no place for an MPT.", "Keep it in the original layout.")
    own: dict[str, Any] = {"template": config.template, "system": config.system}
    if config.wrap_pictures is not None:
        own["wrap_pictures"] = config.wrap_pictures
    if config.projector == "linear":
        own["projector"] = config.projector
    eos: int | list[int] = (
        list(language.eos_token_ids) if len(language.eos_token_ids) > 1 else language.eos_token_ids[0]
    )
    tiles = config.tiles
    next_keys: dict[str, Any] = {}
    if tiles is not None:
        next_keys = {"image_grid_pinpoints": [list(pinpoint) for pinpoint in tiles.pinpoints]}
        if tiles.merge != "spatial_unpad":
            raise ModelError(
                f"The Hugging Face layout has no place for tiles that are merged as {tiles.merge!r}.",
                "Keep it in the original layout.",
            )
    return {
        "architectures": ["LlavaForConditionalGeneration" if tiles is None else "LlavaNextForConditionalGeneration"],
        "model_type": "llava" if tiles is None else "llava_next",
        **next_keys,
        "image_token_index": config.image_token_id,
        "image_seq_length": config.picture_tokens,
        "projector_hidden_act": "linear" if config.projector == "mlp2x_linear" else "gelu",
        "multimodal_projector_bias": True,
        "vision_feature_layer": config.vision_feature_layer,
        "vision_feature_select_strategy": "full" if config.keep_class_token else "default",
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


def vision_config(raw: Mapping[str, Any]) -> VisionConfig:
    """The `config.json` of a CLIP tower, or that part of a LLaVA's. Raises `ModelError`."""
    _expect(raw, "model_type", "clip_vision_model")
    act = raw.get("hidden_act", "quick_gelu")
    if act not in ("quick_gelu", "gelu"):
        raise ModelError(
            f"config.json: the vision tower's hidden_act is {act!r}, not 'quick_gelu' or 'gelu'.", OTHER_MODEL
        )
    d = VisionConfig()
    return VisionConfig(
        image_size=integer(raw, "image_size", 224),
        patch_size=integer(raw, "patch_size", 32),
        hidden_size=integer(raw, "hidden_size", 768),
        intermediate_size=integer(raw, "intermediate_size", 3072),
        num_hidden_layers=integer(raw, "num_hidden_layers", 12),
        num_attention_heads=integer(raw, "num_attention_heads", 12),
        hidden_act=act,
        layer_norm_eps=number(raw, "layer_norm_eps", d.layer_norm_eps),
    )


def language_config(raw: Mapping[str, Any]) -> LanguageConfig:
    """The `config.json` of a Llama or Mistral, or that part of a LLaVA's. Raises `ModelError`."""
    family = raw.get("model_type", "llama")
    if family not in LLAMA_LIKE:
        raise ModelError(
            f"config.json: language models of type {family!r} are not supported; known: {', '.join(LLAMA_LIKE)}, mpt.",
            OTHER_MODEL,
        )
    _expect(raw, "hidden_act", "silu")
    for bias in ("attention_bias", "mlp_bias"):
        if raw.get(bias):
            raise ModelError(f"config.json: {bias} is set; Llama models with biases are not supported.", OTHER_MODEL)
    rope = section(raw, "rope_parameters") if raw.get("rope_parameters") else {}
    scaling = section(raw, "rope_scaling") if raw.get("rope_scaling") else rope
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind != "default":
        raise ModelError(f"config.json: rotary scaling of type {kind!r} is not supported.", OTHER_MODEL)
    d = LanguageConfig()
    hidden = integer(raw, "hidden_size", d.hidden_size)
    heads = integer(raw, "num_attention_heads", d.num_attention_heads)
    return LanguageConfig(
        vocab_size=integer(raw, "vocab_size", d.vocab_size),
        hidden_size=hidden,
        intermediate_size=integer(raw, "intermediate_size", d.intermediate_size),
        num_hidden_layers=integer(raw, "num_hidden_layers", d.num_hidden_layers),
        num_attention_heads=heads,
        num_key_value_heads=integer(raw, "num_key_value_heads", heads),
        head_dim=integer(raw, "head_dim", hidden // max(heads, 1)),
        max_position_embeddings=_context(raw, d.max_position_embeddings),
        rope_theta=number(raw, "rope_theta", number(rope, "rope_theta", d.rope_theta)),
        rms_norm_eps=number(raw, "rms_norm_eps", d.rms_norm_eps),
        tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
        bos_token_id=integer(raw, "bos_token_id", 1),
        eos_token_ids=eos_token_ids(raw, 2),
    )


def own_keys(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What we write under `llava` into a config.json of either layout; empty where it is not ours.

    Raises:
        ModelError: a value is of the wrong type.
    """
    own = section(raw, "llava") if raw.get("llava") else {}
    for key, kind in (("template", str), ("system", str), ("projector", str), ("wrap_pictures", bool)):
        if own.get(key) is not None and not isinstance(own[key], kind):
            raise ModelError(f"config.json: llava.{key} is {own[key]!r}, which makes no sense.", OWN_CONFIG)
    return own


def eos_token_ids(raw: Mapping[str, Any], default: int) -> tuple[int, ...]:
    """The ids that end a text: the config has one, or a list. Raises `ModelError`."""
    listed = raw.get("eos_token_id")
    if isinstance(listed, list) and listed:
        return tuple(integer({"eos_token_id": value}, "eos_token_id", default) for value in listed)
    return (integer(raw, "eos_token_id", default),)


def _context(raw: Mapping[str, Any], default: int) -> int:
    """How many tokens fit. Within a sliding window (Mistral 0.1) attention is plain, and we stay within it."""
    longest = integer(raw, "max_position_embeddings", default)
    window = integer(raw, "sliding_window", 0)
    return min(longest, window) if window and raw.get("use_sliding_window", True) else longest


def _tiles(raw: Mapping[str, Any]) -> TilesConfig:
    if not raw.get("use_image_newline_parameter", True):
        raise ModelError(
            "config.json: use_image_newline_parameter is off; tiles without it are not supported.", OTHER_MODEL
        )
    default = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    return TilesConfig(pinpoints(raw.get("image_grid_pinpoints", default)))


def pinpoints(value: Any) -> tuple[tuple[int, int], ...]:
    """`image_grid_pinpoints`: pairs of pixels, in the order in which they stand. Raises `ModelError`."""
    if not isinstance(value, list) or not 0 < len(value) <= 1000:
        raise ModelError("config.json: image_grid_pinpoints is not a list of pairs.", OWN_CONFIG)
    pairs = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(n) is int and 0 < n <= 100_000 for n in pair):
            raise ModelError(f"config.json: image_grid_pinpoints holds {pair!r}, not a pair of pixels.", OWN_CONFIG)
        pairs.append((pair[0], pair[1]))
    return tuple(pairs)


def section(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object within a config. Raises `ModelError`."""
    value = raw.get(key)
    if not isinstance(value, Mapping):
        raise ModelError(f"config.json: {key} is not an object.", OWN_CONFIG)
    return value


def _expect(raw: Mapping[str, Any], key: str, value: str) -> None:
    if raw.get(key, value) != value:
        raise ModelError(f"config.json: {key} is {raw[key]!r}; only {value!r} is supported.", OTHER_MODEL)


def integer(raw: Mapping[str, Any], key: str, default: int) -> int:
    """A whole number of a config, 0 or more. Raises `ModelError`."""
    value = raw.get(key)
    if value is None:
        return default
    if type(value) is not int or not 0 <= value < 2**53:
        raise ModelError(f"config.json: {key} is {value!r}, not a whole number.", OWN_CONFIG)
    return value


def number(raw: Mapping[str, Any], key: str, default: float) -> float:
    """A number of a config. Raises `ModelError`."""
    value = raw.get(key)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 2**53:
        raise ModelError(f"config.json: {key} is {value!r}, not a number.", OWN_CONFIG)
    return float(value)
