"""An answer as OpenAI's clients read it: whole, or as server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any

from llava_engine.contract import Reply
from llava_engine.server.problems import Problem

WAITING = b": waiting\n\n"
"""A comment: clients pass over it, and whatever stands between sees that the connection lives."""
_HALF = re.compile("[\ud800-\udfff]")
DONE = b"data: [DONE]\n\n"


def usage(reply: Reply) -> dict[str, Any]:
    """What an answer took."""
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
    }


class Completion:
    """The frame of one answer: what all of its events repeat.

    Args:
        model: what the model is called.
        fingerprint: of what computes.
        usage: whether a stream ends with what it took.
    """

    def __init__(self, model: str, fingerprint: str, *, usage: bool) -> None:
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }
        self._usage = usage
        # Nearly all events differ in their text only.
        before, after = self._chunk({"content": "\0"}).split(b'"\\u0000"')
        self._before, self._after = before, after

    def first(self) -> bytes:
        """The event that says who speaks."""
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        """An event with text."""
        return self._before + json.dumps(_readable(text)).encode("ascii") + self._after

    def last(self, reply: Reply) -> bytes:
        """The events that end a stream."""
        end = self._chunk({}, finish_reason(reply))
        if self._usage:
            end += self._event({"choices": [], "usage": usage(reply)})
        return end + DONE

    def whole(self, reply: Reply) -> bytes:
        """All of it at once."""
        message = {"role": "assistant", "content": _readable(reply.text), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(reply)}
        body = {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage(reply)}
        return json.dumps(body).encode("ascii")

    def _chunk(self, delta: dict[str, str], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return self._event({"choices": [choice], **({"usage": None} if self._usage else {})})

    def _event(self, fields: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps({**self._head, "object": "chat.completion.chunk", **fields}).encode() + b"\n\n"


def _readable(text: str) -> str:
    """Text that every reader of JSON takes: half of a surrogate pair, which an engine should not say, is replaced."""
    return text if text.isascii() else _HALF.sub("\ufffd", text)


def failed(problem: Problem) -> bytes:
    """The event that ends a stream in which something went wrong."""
    return b"data: " + problem.body() + b"\n\n"


def finish_reason(reply: Reply) -> str:
    """Nobody reads an answer that was cancelled but a client whose server ends."""
    return "stop" if reply.finish_reason == "stop" else "length"
