"""A server that says, byte for byte, whatever a test wants, for as long as the other side listens."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

Talk = Callable[[socket.socket, threading.Event], None]


class RawServer:
    """Calls `talk(connection, ending)` for each connection, once the request has been read.

    Attributes:
        connections: how many came.
        requests: what they asked.
        port: where.
    """

    def __init__(self, talk: Talk, address: str = "127.0.0.1") -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._talk = talk
        self._address = address
        self._ending = threading.Event()
        self._listening = socket.create_server((address, 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._listening.close()

    def url(self, path: str = "/x.png", host: str | None = None) -> str:
        return f"http://{host or self._address}:{self.port}{path}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.requests.append(connection.recv(65536))
                self._talk(connection, self._ending)
            except OSError:
                pass  # the other side has hung up


def say(*parts: bytes) -> Talk:
    """These bytes, and then the end."""

    def talk(connection: socket.socket, ending: threading.Event) -> None:
        for part in parts:
            connection.sendall(part)

    return talk


def drip(begin: bytes, again: bytes, every_s: float = 0.02) -> Talk:
    """A beginning, and then the same for ever, so slowly or fast."""

    def talk(connection: socket.socket, ending: threading.Event) -> None:
        connection.sendall(begin)
        while not ending.wait(every_s):
            connection.sendall(again)

    return talk
