"""What a checkpoint is, told by its content and never by a name: its layout, and the template it was trained with.

In: the parsed config, our reading of it, the tokenizer. Knows no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llava_engine.checkpoints.layouts.original.config import is_original
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.model.config import LanguageConfig, LlavaConfig, MptConfig

LayoutName = Literal["original", "hf"]
Form = Literal["whole", "adapter", "projector"]


def layout(raw: Mapping[str, Any]) -> LayoutName:
    """Whose names the config's keys and the tensors have."""
    return "original" if is_original(raw) else "hf"


def template(raw: Mapping[str, Any], config: LlavaConfig, tokenizer: Tokenizer, form: Form) -> tuple[str, str]:
    """The conversation template that the weights were trained with, and why we think so (one line)."""
    if config.template is not None:
        return config.template, "the checkpoint's config says so"
    language = config.language
    if isinstance(language, MptConfig):
        return "mpt", "its language model is an MPT"
    if form == "projector" and config.projector == "mlp2x_gelu":
        return "plain", "a projector alone: its pretraining saw captions only"
    if "<|im_start|>" in tokenizer.special_ids:
        return "chatml", "its tokenizer has <|im_start|>"
    if _is_mistral(raw, language):
        return "mistral", "its language model is a Mistral (grouped heads, rotary base 1e6)"
    if layout(raw) == "hf" or config.projector == "mlp2x_gelu":
        return "v1", "a two-layer projector over a Llama: LLaVA 1.5 and later were trained with it"
    if pads_as_v1(tokenizer, form):
        return "v1-june", "a linear projector over a Llama that pads with <unk>, as from v1 on"
    if config.wrap_pictures:
        return "v0", "a linear projector, padding of its own, pictures between <im_start> and <im_end>"
    return "sqa", "a linear projector, padding of its own, pictures without <im_start>"


def pads_as_v1(tokenizer: Tokenizer, form: Form) -> bool:
    """Whether a tokenizer pads with <unk>, as training by v1's template leaves it; v0 added [PAD], or kept its base's.

    Adapters and projectors have no tokenizer of their own to say so; they came with v1, but for those of v0 that have
    a row for [PAD].
    """
    if form != "whole":
        return "[PAD]" not in tokenizer.special_ids
    return tokenizer.pad_id == tokenizer.special_ids.get("<unk>", -1)


def _is_mistral(raw: Mapping[str, Any], language: LanguageConfig) -> bool:
    text = raw.get("text_config", raw)
    return text.get("model_type") in ("mistral", "llava_mistral") or (
        language.num_key_value_heads < language.num_attention_heads and language.rope_theta == 1e6
    )
