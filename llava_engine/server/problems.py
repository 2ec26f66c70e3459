"""Whatever goes wrong -> a status, and an error object as OpenAI's clients read it."""

from __future__ import annotations

import json

from llava_engine.errors import (
    BusyError,
    ContextOverflowError,
    ConversationError,
    EngineAwayError,
    LlavaError,
    OutOfMemoryError,
    PictureError,
    StorageError,
    UsageError,
)

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_AFTER_MEMORY_S = 5  # others end until then, and give theirs back


class Problem(Exception):
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        code: a word for programs.
        message: a sentence for people.
        param: the field of the request that it is about.
        retry_after_s: when to ask again, in seconds.
        headers: to be sent with it.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, round(retry_after_s)))

    def body(self) -> bytes:
        """The JSON that clients read; all ASCII."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode()


class ClientGoneError(Exception):
    """The client left before its answer was whole."""


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> Problem:
    """A request that can not be met as it is."""
    return Problem(400, code, message, param=param)


def bug(request_id: str) -> Problem:
    """An error of ours: nothing of it is told but where to look."""
    return Problem(500, "internal_error", f"This is a bug in llava; the server's log says more about {request_id}.")


def problem_of(error: LlavaError) -> Problem:
    """What an engine or a picture says -> a problem."""
    message = f"{error.cause} {error.remedy}".strip()
    match error:
        case ContextOverflowError():
            # Clients look for these words, to shorten what they send.
            said = f"This model's maximum context length is {error.limit} tokens. {error.cause}"
            return Problem(400, "context_length_exceeded", said, param="messages")
        case PictureError():
            return Problem(400, "invalid_image", message, param="messages")
        case ConversationError():
            return Problem(400, "invalid_messages", message, param="messages")
        case UsageError():
            return invalid(message)
        case BusyError():
            return Problem(429, "queue_full", message, retry_after_s=error.retry_after_s)
        case OutOfMemoryError():
            return Problem(503, "out_of_memory", message, retry_after_s=_AFTER_MEMORY_S)
        case StorageError():  # where its files lie is nobody's business
            return Problem(507, "not_kept", "The disk of this server does not take it.")
        case EngineAwayError():
            return Problem(502, "engine_away", message)
        case _:
            return Problem(500, "engine_failed", message)
