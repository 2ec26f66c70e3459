"""A tokenizer.json of an unknown shape, tried out on texts that bring out what takes long; in a process of its own."""

from __future__ import annotations

import json
from typing import Any

import tokenizers

from llava_engine.conversation.tokenizer_json import plain_spec

# What patterns that backtrack stumble over, and steps that make text longer.
_TEXTS = (
    "a" * 4000,
    " " * 4000,
    "0" * 4000,
    "\n" * 4000,
    "aA" * 2000 + "!",
    "a " * 2000 + "\x00",
    ".,;:!?'\"()[]{}<>|/\\-_=+*&^%$#@~`" * 100,
    "Ünï €世界 🙂\u200d" * 300,
    "".join(map(chr, range(32, 2000))),
)
_MOST_LETTERS = 300  # of a pattern, that are tried; the longest of a published model has 60


def _texts_of(spec: dict[str, Any]) -> list[str]:
    """Texts of the very letters that its steps look for: a pattern may go wrong over one of them alone."""
    steps = json.dumps([spec.get("normalizer"), spec.get("pre_tokenizer")], ensure_ascii=False)
    letters = sorted(set(steps))[:_MOST_LETTERS]
    return [letter * 200 for letter in letters] + ["".join(letters) * 20]


def problem_of(spec: dict[str, Any]) -> str | None:
    """What is wrong with the content of a tokenizer.json; None when it reads every text."""
    try:
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(plain_spec(spec, set())))
        for text in (*_TEXTS, *_texts_of(spec)):
            tokenizer.encode(text, add_special_tokens=False)
    except BaseException as error:  # the library panics in a class of its own, which is no Exception
        return f"{type(error).__name__}: {error}"[:200]
    return None
