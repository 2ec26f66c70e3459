"""A judge on this machine's loopback: what it says to which messages is written down before; it fails as told.

A script maps the hash of a request's messages to what comes of it, one after another; the last again and again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE_S = 20.0
"""A client that never leaves a stalled reply fails its test instead of hanging it."""


@dataclass(frozen=True)
class Trouble:
    """Something else than a reply: a status, its headers, its body."""

    status: int
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Text:
    """A reply that ended for this reason."""

    text: str | None
    finish: str = "stop"


STALL = "\x00stall"
"""The head of an answer, and then nothing."""

BROKEN = Trouble(200, b'{"choices": [{"message": {"content": "8')
EMPTY = Trouble(200, {"choices": []})
BUSY = Trouble(429, {"error": {"message": "Slow down."}}, (("Retry-After", "0"),))
FAILING = Trouble(500, {"error": {"message": "Something broke."}})

Outcome = str | Text | Trouble
"""A reply's text · a reply · something else."""


def hash_of(messages: Sequence[Mapping[str, str]]) -> str:
    """By which a script knows messages."""
    plain = [[message["role"], message["content"]] for message in messages]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


class FakeOpenAI:
    """Answers at any path that ends in /chat/completions.

    Args:
        otherwise: messages -> what comes of them, where the script says nothing.
        script: hash of messages -> what comes of them.

    Attributes:
        requests: bodies, as they came.
        headers: of the requests, names in small letters.
        most: how many were there at one time.
        url: where it is.
    """

    def __init__(
        self,
        otherwise: Callable[[list[dict[str, str]]], Outcome] = lambda messages: "8 9",
        script: Mapping[str, Sequence[Outcome]] | None = None,
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most = 0
        self._now = 0
        self._otherwise = otherwise
        self._script = {key: list(outcomes) for key, outcomes in (script or {}).items()}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=lambda: self._server.serve_forever(0.02), daemon=True).start()

    def __enter__(self) -> FakeOpenAI:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()

    def wait(self, seconds: float) -> None:
        """Let others go on."""
        self._ending.wait(seconds)

    def _next(self, messages: list[dict[str, str]]) -> Outcome:
        outcomes = self._script.get(hash_of(messages))
        if outcomes is None:
            return self._otherwise(messages)
        return outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = PATIENCE_S

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer._now += 1
                    outer.most = max(outer.most, outer._now)
                    outer.requests.append(body)
                    outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                    outcome = outer._next(body["messages"])
                try:
                    self.answer(outcome)
                except OSError:
                    pass  # the client has left
                finally:
                    with outer._lock:
                        outer._now -= 1

            def answer(self, outcome: Outcome) -> None:
                if outcome == STALL:
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.end_headers()
                    self.wfile.flush()
                    outer._ending.wait(PATIENCE_S)
                    return
                if isinstance(outcome, str):
                    outcome = Text(outcome)
                if isinstance(outcome, Text):
                    choice = {
                        "index": 0,
                        "message": {"role": "assistant", "content": outcome.text},
                        "finish_reason": outcome.finish,
                    }
                    used = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
                    outcome = Trouble(200, {"object": "chat.completion", "choices": [choice], "usage": used})
                if not self.path.endswith("/chat/completions"):
                    outcome = Trouble(404, {"error": {"message": "There is nothing here."}})
                data = outcome.body if isinstance(outcome.body, bytes) else json.dumps(outcome.body).encode()
                self.send_response(outcome.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in outcome.headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        return Handler
