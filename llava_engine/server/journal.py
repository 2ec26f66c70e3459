"""A line for every request, with no text and no picture of it; its id; and the last net below which nothing falls."""

from __future__ import annotations

import contextlib
import json
import re
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llava_engine.server.metrics import Metrics
from llava_engine.server.problems import ClientGoneError, Problem, bug
from llava_engine.terminal_safe import SafeText, one_line, strip_control

Form = Literal["text", "json"]
WriteLine = Callable[[SafeText], None]

CLIENT_GONE = 499
"""As nginx logs it; nobody is there to read it."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_PATH = 100


@dataclass
class Entry:
    """What is noted of a request on its way.

    Attributes:
        request_id: the client's own, where it sent one, or ours.
        tokens: of the prompt and of the answer.
        pictures: how many.
    """

    request_id: str
    tokens: tuple[int, int] | None = None
    pictures: int | None = None


class Journal:
    """The outermost layer.

    Args:
        app: what answers.
        metrics: where requests are counted.
        write: takes a line; any thread may call it.
        form: of the lines.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, write: WriteLine, form: Form) -> None:
        self._app = app
        self._metrics = metrics
        self._take_line = write
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note how it ended."""
        if scope["type"] != "http":
            return
        entry = Entry(_request_id(scope))
        scope["llava"] = entry
        begun, status = time.monotonic(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", entry.request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except ClientGoneError:
            status = CLIENT_GONE
        except Exception as error:
            self.log_bug(entry.request_id, error)
            if not status:
                await respond(bug(entry.request_id), noting)
        finally:
            # Nothing was said where uvicorn ends a request: the client is gone, or the server.
            self._metrics.requested(status or CLIENT_GONE)
            self._note(scope, entry, status or CLIENT_GONE, time.monotonic() - begun)

    def _write(self, line: SafeText) -> None:
        """A log that can not be written (a full disk, a pipe that nobody reads) is no reason to answer nobody."""
        with contextlib.suppress(OSError):
            self._take_line(line)

    def log_bug(self, request_id: str, error: BaseException) -> None:
        """Where an error of ours came from; its own words, which may quote a request, are left out."""
        frames = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
        self._write(strip_control(f"{request_id}: a bug, {type(error).__name__}\n{frames}".rstrip()))

    def _note(self, scope: Scope, entry: Entry, status: int, seconds: float) -> None:
        path = scope["path"][:_LONGEST_PATH]
        if self._form == "json":
            fields: dict[str, Any] = {
                "time": round(time.time(), 3),
                "id": entry.request_id,
                "method": scope["method"],
                "path": path,
                "status": status,
                "seconds": round(seconds, 4),
            }
            if entry.tokens:
                fields |= {"prompt_tokens": entry.tokens[0], "completion_tokens": entry.tokens[1]}
                fields["pictures"] = entry.pictures
            self._write(one_line(json.dumps(fields)))
            return
        pictures = "1 picture" if entry.pictures == 1 else f"{entry.pictures} pictures"
        took = f" {entry.tokens[0]}+{entry.tokens[1]} tokens, {pictures}" if entry.tokens else ""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        self._write(one_line(f"{now} {scope['method']} {path} {status} {seconds:.3f}s{took} {entry.request_id}"))


async def respond(problem: Problem, send: Send) -> None:
    """Say what went wrong, whole."""
    body = problem.body()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ID.fullmatch(told := value.decode("latin-1")):
            return str(told)
    return f"req_{uuid.uuid4().hex[:20]}"
