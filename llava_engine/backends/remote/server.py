"""One server, and how it is spoken to: each request on a thread of its own, so that who waits can leave at once.

In: a method, a path, a body. Out: the head of the answer and its content as it comes. No redirect is followed and no
proxy is asked, so that the key reaches the one host that it is for. Knows nothing of models.
"""

from __future__ import annotations

import json
import queue
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from llava_engine.backends.remote.address import Address
from llava_engine.backends.remote.key import Key
from llava_engine.contract import never
from llava_engine.errors import EngineAwayError
from llava_engine.network.client import open_client, unpacked, why_unreachable
from llava_engine.network.connections import Connections, TimeUpError

POLL_S = 0.05
"""How long who waits for an answer is deaf to a wish to leave, in seconds."""

CONNECT_S, WRITE_S = 10.0, 60.0
SILENCE_S = 300.0
"""How long a server may say nothing at all: a long prompt on a small machine takes minutes."""

_ENDING_S = 1.0  # how long a thread may take to notice that its connection was shut
_WAITING = 64  # pieces that may wait to be read, of 64 KiB at most


@dataclass(frozen=True)
class Head:
    """How an answer begins. Names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]

    @property
    def kind(self) -> str:
        """The content type, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Whole:
    """A whole answer."""

    head: Head
    content: bytes

    def json(self) -> Any:
        """Its content as data; None where it is none."""
        return parsed(self.content)


class Server:
    """A server.

    Args:
        address: where it is.
        key: what opens it.
    """

    def __init__(self, address: Address, key: Key) -> None:
        self.address = address
        self.key = key
        self._client = open_client(EngineAwayError, direct=True)

    def close(self) -> None:
        """Every connection ends."""
        self._client.close()

    def send(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, *, silence_s: float = SILENCE_S
    ) -> Generator[Head | bytes | None]:
        """The answer: its head, then content; None whenever nothing came for 50 ms.

        Closing the iterator closes the connection.

        Raises:
            EngineAwayError: it can not be reached, says nothing for too long, or breaks off.
        """
        came: queue.Queue[Head | bytes | BaseException | None] = queue.Queue(_WAITING)
        connections = Connections()

        def hand(item: Head | bytes | BaseException | None) -> bool:
            while not connections.ended:
                try:
                    came.put(item, timeout=POLL_S)
                except queue.Full:
                    continue
                return True
            return False

        def work() -> None:
            try:
                for item in self._read(method, url, body, silence_s, connections):
                    if not hand(item):
                        return
                hand(None)
            except BaseException as error:  # handed to the reader below
                hand(error)

        # Nothing limits the look-up of a name, so nobody waits for the thread: it ends when it sees that it may.
        thread = threading.Thread(target=work, name="llava-far-engine", daemon=True)
        thread.start()
        try:
            while True:
                try:
                    item = came.get(timeout=POLL_S)
                except queue.Empty:
                    yield None
                    continue
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            connections.end()
            thread.join(_ENDING_S)

    def ask(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None = None,
        *,
        within_s: float,
        most_bytes: int,
        cancelled: Callable[[], bool] = never,
    ) -> Whole:
        """A short answer, whole.

        Raises:
            EngineAwayError: as `send`; or it takes longer, is larger, or nobody wants it any more.
        """
        deadline = time.monotonic() + within_s
        head, content = None, bytearray()
        with closing(self.send(method, url, body, silence_s=within_s)) as items:
            for item in items:
                if isinstance(item, Head):
                    head = item
                elif item is not None:
                    content += item
                if cancelled():
                    raise EngineAwayError(f"{self.address.where} is not asked any more.")
                if time.monotonic() > deadline:
                    raise EngineAwayError(f"{self.address.where} takes too long to answer.", "Is it overloaded?")
                if len(content) > most_bytes:
                    raise EngineAwayError(f"{self.address.where} answers far too much.", "Is it the right address?")
        assert head is not None  # `send` raises, or gives one
        return Whole(head, bytes(content))

    def _read(
        self, method: str, url: str, body: Mapping[str, Any] | None, silence_s: float, connections: Connections
    ) -> Iterator[Head | bytes]:
        import httpx

        where = self.address.where
        limits = httpx.Timeout(silence_s, connect=min(CONNECT_S, silence_s), write=WRITE_S, pool=None)
        headers = {"Accept": "text/event-stream, application/json", **self.key.header()}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode("ascii")
        begun = False
        try:
            with (
                connections,
                self._client.stream(
                    method,
                    url,
                    headers=headers,
                    content=content,
                    timeout=limits,
                    extensions=connections.extensions(httpx.URL(url)),
                ) as response,
            ):
                yield Head(response.status_code, dict(response.headers.items()))
                begun = True
                yield from unpacked(response)
        except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise EngineAwayError(
                f"{where} said nothing for {silence_s:.0f} s.", "Is it overloaded, or its machine asleep?"
            ) from error
        except (httpx.TimeoutException, TimeUpError) as error:
            raise EngineAwayError(
                f"{where} can not be reached in time.", "Is it running, and the network up?"
            ) from error
        except zlib.error as error:
            raise EngineAwayError(f"{where} sent something damaged.", "Ask again.") from error
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            if begun:
                raise broke_off(where) from error
            raise EngineAwayError(
                f"{where} closed the connection without an answer.", "Is it an engine, and is http or https right?"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError, UnicodeError, ValueError) as error:
            clause, remedy = why_unreachable(url, error, connections)
            raise EngineAwayError(
                f"{where} {clause}.", remedy or "Is it running there, and is the port right?"
            ) from error


def broke_off(where: str) -> EngineAwayError:
    """It went away in the middle of an answer."""
    return EngineAwayError(f"{where} broke off before the answer was complete.", "Ask again.")


def parsed(content: bytes | str) -> Any:
    """JSON from outside as data; None where it is none, or is deeper than anything that is meant."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
