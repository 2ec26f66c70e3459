"""A checkpoint's tokenizer as transformers' fast tokenizers read it: tokenizer.json and tokenizer_config.json.

In: the tokenizer's files as data. Out: the two files' content, under which any text gets the ids that our tokenizer
gives it: the begin token, the first word's space by generation, and the token for pictures are all written out.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.conversation.tokenizer_json import prefix_rule, steps_of, with_added

IMAGE = "<image>"


@dataclass(frozen=True)
class HfTokenizer:
    """The files, and what else follows from them.

    Attributes:
        spec: tokenizer.json.
        settings: tokenizer_config.json.
        picture: the token that stands for a picture.
        picture_id: its id.
        after_picture: see `chat_template`.
    """

    spec: dict[str, Any]
    settings: dict[str, Any]
    picture: str
    picture_id: int
    after_picture: str


def hf_tokenizer(
    spec: Mapping[str, Any], config: Mapping[str, Any], tokenizer: Tokenizer, placeholder: int, context: int
) -> HfTokenizer:
    """Bring a tokenizer to transformers' form.

    Args:
        spec, config: its files, from `read_files`.
        tokenizer: the same, as we use it.
        placeholder: the id that stands for a picture; a negative one is no token, and `<image>` is added.
        context: how many tokens the model can read.
    """
    marks = {token_id: text for text, token_id in tokenizer.special_ids.items()}
    picture = marks.get(placeholder, IMAGE)
    spec = with_added(copy.deepcopy(dict(spec)), [picture])
    picture_id = next(token["id"] for token in spec["added_tokens"] if token["content"] == picture)
    prefix, after_marks = prefix_rule(spec, dict(config))
    _state_prefix(spec, prefix, after_marks)
    first = tokenizer.bos_id
    spec["post_processor"] = None if first is None else _begins_with(marks.get(first), first)
    spec["truncation"] = spec["padding"] = None
    names = {name: _text(config.get(name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    settings: dict[str, Any] = {name: text for name, text in names.items() if text is not None}
    settings |= {
        "tokenizer_class": "PreTrainedTokenizerFast",  # takes tokenizer.json as it is; Llama's own would rebuild it
        "add_bos_token": tokenizer.bos_id is not None,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "padding_side": "left",
    }
    if prefix:
        settings["legacy"] = after_marks
    return HfTokenizer(spec, settings, picture, picture_id, " " if prefix and not after_marks else "")


def _state_prefix(spec: dict[str, Any], prefix: bool, after_marks: bool) -> None:
    """Write SentencePiece's space before the first word in the dialect that can say where it goes.

    Before every stretch of text between special tokens: a normalizer, which puts it even before a space. Before the
    very first text alone: only a pre-tokenizer can, and it leaves out the space where the text begins with one.
    """
    steps = [*steps_of(spec.get("normalizer"), "normalizers"), *steps_of(spec.get("pre_tokenizer"), "pretokenizers")]
    if not any(step["type"] in ("Metaspace", "Prepend") for step in steps):
        return
    normalizers: list[dict[str, Any]] = [{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    if after_marks:
        normalizers.insert(0, {"type": "Prepend", "prepend": "▁"})
    only_first = prefix and not after_marks
    scheme = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    spec["normalizer"] = None if only_first else {"type": "Sequence", "normalizers": normalizers}
    spec["pre_tokenizer"] = scheme if only_first else None


def _begins_with(text: str | None, token_id: int) -> dict[str, Any] | None:
    if text is None:
        return None
    first = {"SpecialToken": {"id": text, "type_id": 0}}
    whole, second = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [first, whole],
        "pair": [first, whole, second],
        "special_tokens": {text: {"id": text, "ids": [token_id], "tokens": [text]}},
    }


def _text(named: Any) -> str | None:
    """A special token as settings have it: a text, or an object with one."""
    text = named.get("content") if isinstance(named, Mapping) else named
    return text if isinstance(text, str) else None
