"""What a checkpoint is, told by its content and never by a name: its generation, and the template it was trained with.

In: the parsed config, our reading of it, the tokenizer's special tokens. Knows no files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from llava_engine.checkpoints.original_config import is_original
from llava_engine.model.config import LanguageConfig, LlavaConfig, MptConfig

Layout = Literal["original", "hf"]
Form = Literal["whole", "adapter", "projector"]


def layout(raw: Mapping[str, Any]) -> Layout:
    """Whose names the config's keys and the tensors have."""
    return "original" if is_original(raw) else "hf"


def generation(raw: Mapping[str, Any], config: LlavaConfig, specials: Collection[str]) -> str:
    """The generation, as people call it.

    Args:
        raw: the parsed config.json.
        config: our reading of it.
        specials: the tokenizer's special tokens.
    """
    if layout(raw) == "hf":
        if raw.get("llava"):
            return "own"
        return "llava-hf 1.5" if config.tiles is None else "llava-hf NeXT"
    if isinstance(config.language, MptConfig):
        return "MPT"
    if config.tiles is not None:
        return "1.6"
    if config.projector == "mlp2x_gelu":
        return "1.5"
    if "[PAD]" in specials:
        return "v0" if config.wrap_pictures else "v0 ScienceQA"
    return "v1"


def template(raw: Mapping[str, Any], config: LlavaConfig, specials: Collection[str], form: Form) -> tuple[str, str]:
    """The conversation template that the weights were trained with, and why we think so (one line)."""
    if config.template is not None:
        return config.template, "the checkpoint's config says so"
    language = config.language
    if isinstance(language, MptConfig):
        return "mpt", "its language model is an MPT"
    if form == "projector" and config.projector == "mlp2x_gelu":
        return "plain", "a projector alone: its pretraining saw captions only"
    if "<|im_start|>" in specials:
        return "chatml", "its tokenizer has <|im_start|>"
    if _is_mistral(raw, language):
        return "mistral", "its language model is a Mistral (grouped heads, rotary base 1e6)"
    if layout(raw) == "hf" or config.projector == "mlp2x_gelu":
        return "v1", "a two-layer projector over a Llama: LLaVA 1.5 and later were trained with it"
    if "[PAD]" in specials:
        if config.wrap_pictures:
            return "v0", "its tokenizer has [PAD] and the config asks for <im_start> and <im_end>"
        return "sqa", "its tokenizer has [PAD] and pictures stand without <im_start>"
    return "v1-june", "a linear projector, and no [PAD] in the tokenizer"


def _is_mistral(raw: Mapping[str, Any], language: LanguageConfig) -> bool:
    text = raw.get("text_config", raw)
    return text.get("model_type") in ("mistral", "llava_mistral") or (
        language.num_key_value_heads < language.num_attention_heads and language.rope_theta == 1e6
    )
