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
from llava_engine.conversation.tokenizer_json import prefix_rule, with_added

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
    """Write SentencePiece's space before the first word in the one dialect that can say where it goes."""
    scheme = "always" if after_marks else "first" if prefix else "never"
    metaspace = [step for step in _steps(spec.get("pre_tokenizer"), "pretokenizers") if step["type"] == "Metaspace"]
    for step in metaspace:
        step.pop("add_prefix_space", None)
        step["prepend_scheme"] = scheme
    normalizers = _steps(spec.get("normalizer"), "normalizers")
    if scheme == "first" and any(step["type"] == "Prepend" for step in normalizers):
        rest = [step for step in normalizers if step["type"] != "Prepend" and step.get("content") != "▁"]
        spec["normalizer"] = {"type": "Sequence", "normalizers": rest} if rest else None
        spec["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}


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


def _steps(part: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    if part is None:
        return []
    return list(part[key]) if part["type"] == "Sequence" else [part]


def _text(named: Any) -> str | None:
    """A special token as settings have it: a text, or an object with one."""
    text = named.get("content") if isinstance(named, Mapping) else named
    return text if isinstance(text, str) else None
