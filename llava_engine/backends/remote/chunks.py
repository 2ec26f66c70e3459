"""One event of a stream, or one whole answer -> what was said, and what it took.

Takes what OpenAI's chat completions have, and what others make of it: no delta at all, `content: null`, a role alone,
parts in place of a text. What a model thinks before it answers (`reasoning`, `reasoning_content`) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llava_engine.backends.remote.problems import error_in

_LARGEST = 2**40


@dataclass(frozen=True)
class Usage:
    """Tokens of the prompt, of it those that were cached, and of the answer."""

    prompt: int
    cached: int
    completion: int


@dataclass(frozen=True)
class Chunk:
    """What an event says.

    Attributes:
        text: what the model said with it.
        finish: why the answer ended, in the server's word; "" while it has not.
        usage: what it took so far; None where it does not say.
        error: what went wrong in place of an answer; {} where nothing did.
        thought: the model thinks, and does not speak yet.
        calls: the model wants to call a tool.
    """

    text: str = ""
    finish: str = ""
    usage: Usage | None = None
    error: Mapping[str, Any] | None = None
    thought: bool = False
    calls: bool = False


def chunk_of(data: Any) -> Chunk | None:
    """A chunk, or a whole answer, from its JSON; None where it is neither."""
    if not isinstance(data, dict):
        return None
    if error := error_in(data):
        return Chunk(error=error)
    usage = _usage(data.get("usage"))
    choices = data.get("choices")
    if not isinstance(choices, list):
        return Chunk(usage=usage) if usage or data.get("object") else None
    first = next((one for one in choices if isinstance(one, dict) and one.get("index", 0) in (0, None)), {})
    said = first.get("delta") if isinstance(first.get("delta"), dict) else first.get("message")
    said = said if isinstance(said, dict) else {}
    finish = first.get("finish_reason")
    return Chunk(
        text=_text(said.get("content")) or _text(said.get("refusal")),
        finish=finish if isinstance(finish, str) else "",
        usage=usage,
        thought=bool(said.get("reasoning_content") or said.get("reasoning")),
        calls=bool(said.get("tool_calls")),
    )


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def _usage(said: Any) -> Usage | None:
    if not isinstance(said, dict):
        return None
    prompt, completion = _number(said.get("prompt_tokens")), _number(said.get("completion_tokens"))
    if prompt is None or completion is None:
        return None
    details = said.get("prompt_tokens_details")
    cached = _number(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Usage(prompt, min(cached or 0, prompt), completion)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST else None
