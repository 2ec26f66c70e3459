"""What a server says went wrong -> an error for a person: one line of ours, with the server's words where they help."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from llava_engine.backends.remote.address import Address
from llava_engine.backends.remote.key import VARIABLE, Key
from llava_engine.backends.remote.server import Head, Whole, parsed
from llava_engine.errors import BusyError, ContextOverflowError, EngineAwayError, LlavaError
from llava_engine.network.addresses import shown
from llava_engine.terminal_safe import one_line

MOST_BYTES = 2**18  # of an error that is read
_MOST_WORDS = 300  # letters of a server's own words
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|context (length|window|size)|"
    r"longer than the (model|maximum)|too many tokens|input is too long",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"unrecogni[sz]ed|unknown|unsupported|unexpected|extra|not (permitted|supported|allowed)|does not support",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+|\d{2,9}")
_NO_QUOTA = "insufficient_quota"


class Problems:
    """Of one server.

    Args:
        address: which.
        key: what its words must not show.
        context_length: what its model can hold; None where that is not known.
    """

    def __init__(self, address: Address, key: Key, context_length: int | None) -> None:
        self._where = address.where
        self._key = key
        self._context_length = context_length

    def of_answer(self, answer: Whole) -> LlavaError:
        """Why a request got no 200."""
        status, error = answer.head.status, error_in(answer.json())
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            there = self._key.hidden(shown(answer.head.headers.get("location", "") or "nowhere"))
            return EngineAwayError(
                f"{self._where} redirects to {there}, and that is not followed.", "Give that address, if you trust it."
            )
        words = self.words(error, answer)
        match status:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                does = "does not take the key that it got" if self._key else "wants a key"
                return EngineAwayError(
                    f"{self._where} {does}{words}.", f"Set {VARIABLE}, or name a file that holds it: --engine-key-file."
                )
            case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
                return EngineAwayError(
                    f"{self._where} does not know what it was asked{words}.",
                    "Does the address lead to an OpenAI-compatible engine, and does it have this model?",
                )
            case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                return EngineAwayError(
                    f"{self._where} does not take so much at once{words}.", "Use fewer or smaller pictures."
                )
            case HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.SERVICE_UNAVAILABLE if _code(error) != _NO_QUOTA:
                return BusyError(f"{self._where} is busy{words}.", retry_after_s(answer.head))
        return self.of_error(error, status, words)

    def of_error(self, error: Mapping[str, Any], status: int = 0, words: str | None = None) -> LlavaError:
        """Why an answer ended, by the error object that came in its place."""
        words = self.words(error) if words is None else words
        said = f"{_code(error)} {error.get('type')} {_message(error)}"
        client = status in (0, HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if client and _TOO_LONG.search(said) and (limit := self._limit(error)):
            tokens = _count(error.get("n_prompt_tokens"))
            return ContextOverflowError(tokens or limit + 1, limit, at_least=not tokens)
        named = f" ({status})" if status else ""
        refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        does = "refuses" if refused else "failed"
        return EngineAwayError(f"{self._where} {does}{named}{words}.", "" if refused else "Its log may say more.")

    def words(self, error: Mapping[str, Any], answer: Whole | None = None) -> str:
        """`: what the server said`, on one line and without the key; or nothing."""
        message = _message(error)
        if not message and answer is not None and answer.head.kind in ("text/plain", ""):
            message = answer.content[:_MOST_WORDS].decode("utf-8", "replace")
        message = one_line(self._key.hidden(message)).rstrip(".")
        if len(message) > _MOST_WORDS:
            message = one_line(message[: _MOST_WORDS - 1] + "…")
        return f": {message}" if message else ""

    def _limit(self, error: Mapping[str, Any]) -> int | None:
        """What the model can hold: as the error says it, as is known, or the first large number of its words."""
        if limit := _count(error.get("n_ctx")) or self._context_length:
            return limit
        numbers = [int(number.replace(",", "")) for number in _NUMBER.findall(_message(error))]
        return next((number for number in numbers if number >= 256), None)


def error_in(said: Any) -> dict[str, Any]:
    """The error object of an answer, in whichever of the usual forms; {} where there is none.

    OpenAI and most: {"error": {"message", "type", "param", "code"}}; Ollama: {"error": "words"}; older vLLM and SGLang:
    {"object": "error", "message", …}; FastAPI: {"detail": "words" or […]}.
    """
    if not isinstance(said, dict):
        return {}
    error = said.get("error")
    if isinstance(error, str) and error:
        try_inner = parsed(error) if error.startswith("{") else None
        return error_in(try_inner) or {"message": error}
    if isinstance(error, dict):
        return error
    if said.get("object") == "error":
        return said
    if said.get("detail"):
        return {"message": str(said["detail"])}
    return {}


def refused_field(answer: Whole, fields: Mapping[str, Any]) -> str:
    """Which of a request's fields a server does not take, by its error; "" where it says none."""
    if answer.head.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
        return ""
    error = error_in(answer.json())
    param, message = error.get("param"), _message(error)
    if not _UNKNOWN.search(f"{error.get('code')} {message}"):
        return ""
    if isinstance(param, str) and param in fields:
        return param
    named = [name for name in fields if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message)]
    return named[0] if named else ""


def retry_after_s(head: Head, default: float = 0.0) -> float:
    """The Retry-After of an answer, in seconds (RFC 9110, 10.2.3: a number, or a date)."""
    value = head.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{0,9})?", value, re.ASCII):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, IndexError):
        return default


def _code(error: Mapping[str, Any]) -> str:
    return str(error.get("code") or error.get("type") or "")[:100]


def _message(error: Mapping[str, Any]) -> str:
    message = error.get("message")
    return message[:10_000] if isinstance(message, str) else ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40 else None
