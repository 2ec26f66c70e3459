"""What kinds of server call things, and what each lacks: one table.

A kind is told by what a server says of itself (discovery.py). What is not known to be lacking is tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from llava_engine.contract import Ability

Kind = Literal["llava", "vllm", "sglang", "llamacpp", "ollama", "openai", ""]

_GO_ON = {"continue_final_message": True, "add_generation_prompt": False}
_ALL = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff"})
_COMMON = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})


@dataclass(frozen=True)
class Dialect:
    """How a kind of server wants to be asked.

    Attributes:
        lacks: what it can not do, or takes without a word and ignores.
        most: its name for the limit of an answer.
        penalty: its name for the repetition penalty.
        go_on: what makes the last message a beginning that the answer goes on from; {} where nothing does.
        reads: the kinds of picture that it reads.
        as_it_is: it turns pictures upright and lays them over white by itself, as we do.
        slots: how many answers at once are no burden, where it does not say.
    """

    lacks: frozenset[Ability] = frozenset()
    most: str = "max_tokens"
    penalty: str = "repetition_penalty"
    go_on: Mapping[str, bool] = field(default_factory=dict)
    reads: frozenset[str] = _COMMON
    as_it_is: bool = False
    slots: int = 8


DIALECTS: Mapping[Kind, Dialect] = {
    # Ours gets the original bytes, whose hash is what its cache knows a picture by.
    "llava": Dialect(go_on=_GO_ON, reads=_ALL, as_it_is=True, slots=4),
    "vllm": Dialect(frozenset({"count"}), go_on=_GO_ON, slots=64),
    "sglang": Dialect(frozenset({"count"}), go_on=_GO_ON, slots=64),
    # stb_image: no WebP
    "llamacpp": Dialect(
        frozenset({"begun"}), penalty="repeat_penalty", reads=frozenset({"image/png", "image/jpeg"}), slots=4
    ),
    # Its OpenAI endpoint knows neither field, and says nothing of it.
    "ollama": Dialect(
        frozenset({"begun", "count", "top_k", "repetition_penalty"}),
        reads=frozenset({"image/png", "image/jpeg"}),
        slots=4,
    ),
    "openai": Dialect(
        frozenset({"begun", "count", "top_k", "repetition_penalty"}), most="max_completion_tokens", slots=16
    ),
    "": Dialect(frozenset({"begun"})),
}
