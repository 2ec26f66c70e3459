"""A server on a real port of this machine, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from llava_engine.contract import EngineLike
from llava_engine.server.serving import listen, serve
from llava_engine.server.settings import Settings
from tests.llava_engine.server.api import CHAT, HELLO

PATIENCE_S = 20.0


class Live:
    """A running server.

    Attributes:
        port: where.
        lines: what it logged.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.lines: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE_S, trust_env=False)

    def chat(self, **fields: Any) -> httpx.Response:
        with self.client() as client:
            return client.post(CHAT, json=HELLO | fields)

    def connect(self, send: bytes = b"", receive_buffer: int | None = None) -> socket.socket:
        """A connection over which nothing is said but this."""
        made = socket.socket()
        if receive_buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.settimeout(PATIENCE_S)
        made.connect(("127.0.0.1", self.port))
        made.sendall(send)
        return made

    def metric(self, name: str) -> float:
        with self.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"llava_{name} ")), 0.0)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds; a test whose condition never comes fails."""
        until(condition)


def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds; a test whose condition never comes fails."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def request(body: dict[str, Any] | None = None, *, headers: str = "", path: str = CHAT) -> bytes:
    """A whole request as bytes."""
    content = json.dumps(HELLO if body is None else body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


@contextmanager
def live(engine: EngineLike, settings: Settings = Settings()) -> Iterator[Live]:  # noqa: B008
    """Serve within the block."""
    listening = listen("127.0.0.1", 0)
    server = Live(listening.getsockname()[1])
    ready = threading.Event()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []
    failed: list[BaseException] = []

    async def main() -> None:
        task = asyncio.ensure_future(
            serve(
                lambda cancelled: engine, settings, listening, write=server.lines.append, on_ready=lambda _: ready.set()
            )
        )
        running.append((asyncio.get_running_loop(), task))
        try:
            await task
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield server
    finally:
        loop, task = running[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert not failed
