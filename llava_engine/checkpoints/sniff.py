"""What a checkpoint is, told by its content and never by a name.

In: the parsed config, the tokenizer. Knows no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from llava_engine.checkpoints.layouts.original.config import is_original
from llava_engine.conversation.tokenizer import Tokenizer

LayoutName = Literal["original", "hf"]
Form = Literal["whole", "adapter", "projector"]


def layout(raw: Mapping[str, Any]) -> LayoutName:
    """Whose names the config's keys and the tensors have."""
    return "original" if is_original(raw) else "hf"


def pads_as_v1(tokenizer: Tokenizer, form: Form) -> bool:
    """Whether a tokenizer pads with <unk>, as training by v1's template leaves it; v0 added [PAD], or kept its base's.

    Adapters and projectors have no tokenizer of their own to say so; they came with v1, but for those of v0 that have
    a row for [PAD].
    """
    if form != "whole":
        return "[PAD]" not in tokenizer.special_ids
    return tokenizer.pad_id == tokenizer.special_ids.get("<unk>", -1)
