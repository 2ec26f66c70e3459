"""What a person types after /model -> a model and how to place it, by the options of the command line.

In: the words, and what the chat was started with, which stays where nothing else is said. Knows no model.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from llava_engine.errors import LlavaError

OPTIONS = ("--device", "--dtype", "--quantize", "--max-memory", "--devices", "--context", "--template")


class ModelWordsError(LlavaError):
    """Words after /model that say no model."""


def read_words(words: str, model: str | None, placing: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """A model (None is the tiny one) and what `llava_engine.load` takes beside it.

    Args:
        words: "~/llava-7b --quantize int8", "--device cpu", "~/other".
        model: what was asked for before.
        placing: likewise; what belongs to a model (its base, tower, template) does not go to another one.

    Raises:
        ModelWordsError: an unknown option, one without its value, two models, an open quote.
    """
    try:
        parts = shlex.split(words)
    except ValueError as error:
        raise ModelWordsError(f"{words} can not be read: {error}.") from None
    named: list[str] = []
    said: dict[str, Any] = {}
    while parts:
        word, equals, value = parts.pop(0).partition("=")
        if not word.startswith("--"):
            named.append(word + equals + value)
            continue
        if word not in OPTIONS:
            raise ModelWordsError(f"/model knows no {word}.", f"It knows {', '.join(OPTIONS)}.")
        if not equals:
            if not parts:
                raise ModelWordsError(f"{word} needs a value.", "For instance: /model --quantize int8")
            value = parts.pop(0)
        said[word.removeprefix("--").replace("-", "_")] = value
    if len(named) > 1:
        raise ModelWordsError(f"There are two models: {' and '.join(named)}.", "Put a name with spaces in quotes.")
    if "context" in said:
        if not said["context"].isdecimal():
            raise ModelWordsError(f"{said['context']!r} is no number of tokens.")
        said["context"] = int(said["context"])
    if said.get("device", "auto") != "auto":
        said = {"devices": None} | said
    if said.get("devices") is not None:
        said = {"device": "auto"} | said
    kept = {name: value for name, value in placing.items() if not named or f"--{name.replace('_', '-')}" in PLACING}
    return (named[0] if named else model), kept | said


PLACING = frozenset(OPTIONS) - {"--template", "--context"}
"""What belongs to the machine and not to a model."""
