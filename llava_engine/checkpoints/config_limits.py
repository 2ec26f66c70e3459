"""Whether a config describes a model that can be: what is absurd is refused before anything is built or read.

A config from outside can ask for a billion layers, heads that do not divide, a layer that the tower does not have. Each
number is looked at by itself and beside the tensors that there are. Builds nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from llava_engine.errors import ModelError
from llava_engine.model.config import LanguageConfig, LlavaConfig

# Ten times and more of what the largest models have; what is within can be counted and compared in no time.
_MOST_WIDE, _MOST_INNER, _MOST_HEADS, _MOST_TOKENS, _MOST_CONTEXT = 2**17, 2**20, 2**12, 2**22, 2**26
_MOST_PIXELS = 4096
_AGAIN = "The weights do not belong to this config.json, or the copy is not whole."


def check_sizes(config: LlavaConfig, names: Collection[str]) -> None:
    """Refuse a config that no model can have.

    Args:
        config: our reading of it.
        names: canonical names of all tensors that there are.

    Raises:
        ModelError: naming the first size that can not be.
    """
    vision, language = config.vision, config.language
    _within("width of the language model", language.hidden_size, _MOST_WIDE)
    _within("inner width of the language model", language.intermediate_size, _MOST_INNER)
    _within("heads of the language model", language.num_attention_heads, _MOST_HEADS)
    _within("key/value heads of the language model", language.num_key_value_heads, language.num_attention_heads)
    _within("width of a head", language.head_dim, _MOST_WIDE)
    _within("tokens of the vocabulary", language.vocab_size, _MOST_TOKENS)
    _within("tokens of context", language.max_position_embeddings, _MOST_CONTEXT)
    if language.num_attention_heads % language.num_key_value_heads:
        raise _refusal(
            f"{language.num_attention_heads} heads can not share {language.num_key_value_heads} key/value heads"
        )
    if isinstance(language, LanguageConfig):
        if language.head_dim % 2:
            raise _refusal(f"a head is {language.head_dim} wide, which rotary positions can not halve")
        _within("rope_theta", language.rope_theta, 10**12)
        _within("rms_norm_eps", language.rms_norm_eps, 1, least=0)
    else:
        _within("layer_norm_epsilon", language.layer_norm_eps, 1, least=0)
    _within("width of the vision tower", vision.hidden_size, _MOST_WIDE)
    _within("inner width of the vision tower", vision.intermediate_size, _MOST_INNER)
    _within("heads of the vision tower", vision.num_attention_heads, _MOST_HEADS)
    _within("image_size", vision.image_size, _MOST_PIXELS)
    _within("patch_size", vision.patch_size, vision.image_size)
    _within("layer_norm_eps", vision.layer_norm_eps, 1, least=0)
    if vision.hidden_size % vision.num_attention_heads:
        raise _refusal(
            f"the vision tower's width {vision.hidden_size} can not be shared out among "
            f"{vision.num_attention_heads} heads"
        )
    _check_layers("the vision tower", vision.num_hidden_layers, names, "vision_tower.vision_model.encoder.layers.")
    last, chosen = vision.num_hidden_layers, config.vision_feature_layer
    if not -last - 1 <= chosen <= last:
        raise _refusal(f"layer {chosen} of the vision tower is projected, and it has {last}")
    mpt = not isinstance(language, LanguageConfig)
    prefix = "language_model.transformer.blocks." if mpt else "language_model.model.layers."
    _check_layers("the language model", language.num_hidden_layers, names, prefix)


def _check_layers(what: str, said: int, names: Collection[str], prefix: str) -> None:
    there = {name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)}
    if said != len(there) or not there:
        raise ModelError(f"config.json says that {what} has {said:,} layers, the weights have {len(there):,}.", _AGAIN)


def _within(what: str, value: float, most: float, least: float = 1) -> None:
    if not least <= value <= most:  # nor is a NaN
        raise _refusal(f"{what}: {value:,}, not {least:,} to {most:,}")


def _refusal(cause: str) -> ModelError:
    return ModelError(f"config.json describes a model that can not be: {cause}.", "Take the model's own config.json.")
