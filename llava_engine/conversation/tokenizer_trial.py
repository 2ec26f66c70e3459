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


def problem_of(spec: dict[str, Any]) -> str | None:
    """What is wrong with the content of a tokenizer.json; None when it reads every text."""
    try:
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(plain_spec(spec, set())))
        for text in _TEXTS:
            tokenizer.encode(text, add_special_tokens=False)
    except BaseException as error:  # the library panics in a class of its own, which is no Exception
        return f"{type(error).__name__}: {error}"[:200]
    return None
