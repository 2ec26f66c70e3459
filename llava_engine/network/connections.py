"""The connections of one exchange with a server: where they lead, and their end when its time is up.

httpx limits each read, not their sum: a server that sends a byte now and then, or `100 Continue` for ever, would keep
a thread for ever. So the sockets are known here, from httpx's trace of its own steps, and shut from outside.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llava_engine.network.addresses import is_private, names_private, resolves_to_private

if TYPE_CHECKING:
    import httpx


class TimeUpError(Exception):
    """The exchange was ended by the clock before this connection was made."""


class ForbiddenRedirectError(Exception):
    """A server sends us to where it may not: out of encryption, or from the internet into a private network."""


class Connections:
    """Pass `extensions` with every request, and `leave` with every redirect.

    Args:
        public_only: nothing in a private network is opened, not even first.

    Attributes:
        ended: the time was up; whatever looks like an answer since then is cut.
        proxied: the last connection led to a proxy.
    """

    def __init__(self, *, public_only: bool = False) -> None:
        self.ended = False
        self.proxied = False
        self._host = ""
        self._port = 0
        self._peer = ""
        self._public = public_only  # once a public server has sent us on, nothing private is opened any more
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._lock:
            for held in self._sockets:
                held.close()
            self._sockets.clear()

    def extensions(self, url: httpx.URL) -> dict[str, Any]:
        """What to give a request as `extensions`, so that its connections are known here."""
        self._host = url.raw_host.decode("ascii")
        self._port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
        return {"trace": self._trace}

    def leave(self, url: str, there: str) -> None:
        """Take note of a redirect.

        Raises:
            ForbiddenRedirectError: from https to http; or from the internet to a private address. A private address
                that the user asked for may lead to others.
        """
        if urlsplit(url).scheme == "https" and urlsplit(there).scheme == "http":
            raise ForbiddenRedirectError("out of an encrypted connection")
        here = urlsplit(url).hostname or ""
        # Behind a proxy only the proxy knows the address: there a name counts as public.
        private = names_private(here) if self.proxied else is_private(self._peer)
        self._public = self._public or not private
        if self._public and names_private(urlsplit(there).hostname or ""):
            raise ForbiddenRedirectError("to a private address")

    def end(self) -> None:
        """Shut every connection, now and later, from any thread: who reads there sees its end at once."""
        with self._lock:
            self.ended = True
            for held in self._sockets:
                try:
                    held.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the server was quicker

    @contextmanager
    def ended_after(self, seconds: float) -> Iterator[None]:
        """Within this block, `end` comes after so many seconds."""
        timer = threading.Timer(seconds, self.end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("connect_tcp.started"):
            self.proxied = (info["host"], info["port"]) != (self._host, self._port)
            if self.ended:
                raise TimeUpError
            if self._public and not self.proxied and resolves_to_private(self._host):
                raise ForbiddenRedirectError("to a private address")
        elif event.endswith("connect_tcp.complete"):
            connected: socket.socket = info["return_value"].get_extra_info("socket")
            self._peer = str(connected.getpeername()[0])
            # The name may have got another address since it was looked up above.
            if self._public and not self.proxied and is_private(self._peer):
                connected.close()
                raise ForbiddenRedirectError("to a private address")
            with self._lock:
                self._sockets.append(connected.dup())  # TLS takes the first one over; shutting either shuts both
            if self.ended:
                self.end()
