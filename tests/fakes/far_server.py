"""A server on this machine's loopback that speaks as a recorded one, byte for byte, and notes what it was asked."""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.recorded_streams import Recorded

PATIENCE_S = 20.0
"""A client that never does what a test waits for fails the test instead of hanging it."""

Step = bytes | threading.Event
"""Bytes to send · an event to wait for, or the client's end, whichever comes first."""


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Said:
    """An answer to one request: a status, headers, and its body in steps. `cut`: no proper end of the chunked body."""

    steps: Sequence[Step]
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/event-stream"),)
    cut: bool = False


def problem(status: int, error: Any, *headers: tuple[str, str], kind: str = "application/json") -> Said:
    """An error, as JSON unless it is bytes already."""
    body = error if isinstance(error, bytes) else json.dumps(error).encode()
    return Said([body], status, (("Content-Type", kind), *headers))


class FarServer:
    """Answers at the paths of `recorded`.

    Args:
        recorded: what kind of server it is.
        *answers: what it says to the first question, the second, …; the last again and again; the recorded stream when
            there are none.
        places: answers at further paths, which go before the recorded ones.
        context: makes it an encrypted one.

    Attributes:
        requests: what it was asked.
        left: set when a client went away before an answer was over.
        url: where it is.
    """

    def __init__(
        self,
        recorded: Recorded,
        *answers: Said,
        places: dict[str, Said | dict[str, Any]] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.left = threading.Event()
        self._recorded = recorded
        self._answers = answers or (Said([recorded.stream]),)
        self._places: dict[str, Said | dict[str, Any]] = {
            "/v1/models": dict(recorded.models),
            **recorded.places,
            **(places or {}),
        }
        self._asked = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.where = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http{'' if context is None else 's'}://{self.where}"
        threading.Thread(target=lambda: self._server.serve_forever(0.02), daemon=True).start()

    def __enter__(self) -> FarServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def questions(self) -> list[Request]:
        """The requests for an answer."""
        return [request for request in self.requests if request.path.endswith("/chat/completions")]

    def _next(self, path: str) -> Said:
        if path.endswith("/chat/completions"):
            said = self._answers[min(self._asked, len(self._answers) - 1)]
            self._asked += 1
            return said
        place = self._places.get(path)
        if place is None:
            return problem(404, {"error": {"message": "not found"}})
        return place if isinstance(place, Said) else problem(200, place)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = PATIENCE_S

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                path = urlsplit(self.path).path
                outer.requests.append(Request(self.command, path, headers, json.loads(body) if body else None))
                said = outer._next(path)
                try:
                    self.send_response(said.status)
                    for name, value in said.headers:
                        self.send_header(name, value)
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for step in said.steps:
                        if isinstance(step, bytes):
                            if step:
                                self.wfile.write(b"%x\r\n%b\r\n" % (len(step), step))
                        elif not self.wait(step):
                            return
                    if not said.cut:
                        self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    outer.left.set()
                finally:
                    self.close_connection = True

            do_GET = do_POST = answer

            def wait(self, event: threading.Event) -> bool:
                until = time.monotonic() + PATIENCE_S
                while not event.wait(0.005):
                    assert time.monotonic() < until, "nobody did what this server waits for"
                    ready, _, _ = select.select([self.connection], [], [], 0)
                    if ready and not self.connection.recv(1, socket.MSG_PEEK):
                        outer.left.set()
                        return False
                return True

            def log_message(self, *_: object) -> None: ...

        return Handler


def patiently(condition: Callable[[], bool]) -> bool:
    """Whether it comes about in time."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True
