"""Requests to a hub's server: where they may go, who may see the token, and what its refusals mean for a person.

In: paths below the endpoint. Out: JSON, or a stream of bytes from some offset on. Whatever may be better in a moment (a
cut connection, a busy server) is a `PassingTrouble`; all else is an error in one sentence. Knows nothing of files.
httpx is imported on the first request.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from llava_engine.errors import ModelError
from llava_engine.network.addresses import shown
from llava_engine.network.client import open_client, unpacked, why_unreachable
from llava_engine.network.connections import Connections, ForbiddenRedirectError, TimeUpError
from llava_engine.terminal_safe import strip_control

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 5
MAX_LISTING_BYTES = 32 * 2**20
LISTING_S = 60.0  # for a whole list, however it drips; the largest have some MB
LONGEST_WAIT_S = 120.0
WORTH_BYTES = 2**20
PASSING = frozenset({408, 429, 500, 502, 503, 504})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

Result = TypeVar("Result")


class PassingTrouble(Exception):
    """A request that failed for a reason that may pass.

    Args:
        what: a clause for a person, as in "… broke off".
        wait_s: how long the server asks to wait, if it does.
    """

    def __init__(self, what: str, wait_s: float = 0) -> None:
        super().__init__(what)
        self.what = what
        self.wait_s = wait_s


@dataclass(frozen=True)
class HubServer:
    """A server that speaks the hub's protocol.

    Attributes:
        endpoint: its address; http is for servers on this machine or in one's own network.
        token: sent to the endpoint's own host only, and in the clear only to this machine.
        timeout_s: how long to wait for the headers in all, and for the next bytes.
        waits_s: how long to wait after each failure in a row; after as many the trouble is an error.
        sleep: how to wait.
    """

    endpoint: str = "https://huggingface.co"
    token: str | None = field(default=None, repr=False)
    timeout_s: float = 30.0
    waits_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.endpoint)
            right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # brackets that are no address, or a port that is no number
            right = False
        if not right:
            raise ModelError(f"{shown(self.endpoint)!r} is not the address of a hub.", "Set HF_ENDPOINT right.")

    def ask(self, path: str, what: str) -> Any:
        """The JSON at a path below the endpoint.

        Args:
            what: what is asked for, as an error names it.

        Raises:
            ModelError: refused, absent, unreachable after all tries, or no JSON.
        """

        def once() -> bytes:
            body = bytearray()
            with self.stream(path, what, within_s=LISTING_S) as response:
                for piece in unpacked(response):
                    body += piece
                    if len(body) > MAX_LISTING_BYTES:
                        raise ModelError(f"{self._host} says far too much about {what}.", "Is HF_ENDPOINT a hub?")
            return bytes(body)

        try:
            return json.loads(self.retried(once, lambda: 0, self.waits_s[:2]))  # somebody is waiting for it
        except (ValueError, RecursionError):
            raise ModelError(f"{self._host} did not answer with JSON.", "Is HF_ENDPOINT a hub?") from None

    @contextmanager
    def stream(
        self, path: str, what: str, start: int = 0, *, within_s: float | None = None
    ) -> Iterator[httpx.Response]:
        """The answer to a request, its body not read yet: 200 for all of it, or 206 from byte `start` on.

        What goes wrong on the network while the caller reads the body is passing trouble, too.

        Args:
            within_s: how long all of it may take, the reading included; None for as long as bytes come.

        Raises:
            PassingTrouble: it may work in a moment.
            ModelError: it will not.
        """
        import httpx

        url = self.endpoint.rstrip("/") + path
        headers = {"Range": f"bytes={start}-"} if start else {}
        with open_client(ModelError) as client, Connections() as connections, self._network(url, connections):
            clock = nullcontext() if within_s is None else connections.ended_after(within_s)
            with clock:
                for _ in range(MAX_REDIRECTS + 1):
                    own = {"Authorization": f"Bearer {self.token}"} if self.token and self._may_know_token(url) else {}
                    try:
                        asked = httpx.URL(url)
                    except (httpx.InvalidURL, UnicodeError, ValueError):
                        raise ModelError(f"{shown(url)} is not an address.", "Set HF_ENDPOINT right.") from None
                    request = client.build_request(
                        "GET",
                        asked,
                        headers=headers | own,
                        timeout=self.timeout_s,
                        extensions=connections.extensions(asked),
                    )
                    with connections.ended_after(self.timeout_s):
                        response = client.send(request, stream=True)
                    try:
                        if not response.is_redirect:
                            self._check(response, what)
                            yield response
                            if connections.ended:  # what looks like the end of the body is ours
                                raise TimeUpError
                            return
                        url = self._next(url, response.headers.get("location", ""), connections)
                    finally:
                        response.close()
        raise ModelError(f"{self._host} redirects more than {MAX_REDIRECTS} times.", "Try again later.")

    def retried(
        self, work: Callable[[], Result], progress: Callable[[], int], waits_s: tuple[float, ...] | None = None
    ) -> Result:
        """What `work` gives, tried again after a wait when there was passing trouble.

        Args:
            progress: bytes so far; when `WORTH_BYTES` of them came since the last failure, the waits begin anew.
            waits_s: in place of the server's.

        Raises:
            ModelError: the trouble did not pass.
        """
        waits = self.waits_s if waits_s is None else waits_s
        failures, before = 0, progress()
        while True:
            try:
                return work()
            except PassingTrouble as trouble:
                if progress() - before >= WORTH_BYTES:
                    failures = 0
                before = progress()
                if failures == len(waits) or trouble.wait_s > LONGEST_WAIT_S:
                    raise ModelError(
                        f"{self._host} {trouble.what}.",
                        "Is there a network? Say it again later: what has arrived so far is kept.",
                    ) from None
                self.sleep(max(waits[failures], trouble.wait_s))
                failures += 1

    @property
    def _host(self) -> str:
        return strip_control(urlsplit(self.endpoint).netloc.rpartition("@")[2])

    def _may_know_token(self, url: str) -> bool:
        asked, own = urlsplit(url), urlsplit(self.endpoint)
        same = (asked.scheme, asked.hostname, _port(url)) == (own.scheme, own.hostname, _port(self.endpoint))
        return same and (own.scheme == "https" or own.hostname in LOOPBACK)

    def _next(self, url: str, location: str, connections: Connections) -> str:
        """Where a redirect leads: http(s), never out of encryption, never from the internet into a private network."""
        try:
            there = urljoin(url, location)
            scheme = urlsplit(there).scheme
        except ValueError:
            there = scheme = ""
        if scheme not in ("http", "https"):
            raise self._astray(there)
        try:
            connections.leave(url, there)
        except ForbiddenRedirectError as error:
            raise self._astray(there) from error
        return there

    def _astray(self, there: str) -> ModelError:
        return ModelError(
            f"{self._host} redirects to where nothing is fetched from: {shown(there)}.", "Try again later."
        )

    @contextmanager
    def _network(self, url: str, connections: Connections) -> Iterator[None]:
        """What goes wrong on the way, as trouble that may pass, or as an error where it will not."""
        import httpx

        try:
            yield
        except ForbiddenRedirectError as error:
            raise ModelError(
                f"{self._host} redirects {error}, and that is not followed.", "Try again later."
            ) from error
        except (httpx.TimeoutException, TimeUpError) as error:
            raise PassingTrouble("took too long to answer") from error
        except (httpx.ConnectError, httpx.ProxyError) as error:
            if connections.ended:
                raise PassingTrouble("took too long to answer") from error
            clause, remedy = why_unreachable(url, error, connections)
            if remedy:
                raise ModelError(f"{self._host} {clause}.", remedy) from error
            raise PassingTrouble(clause) from error
        except httpx.UnsupportedProtocol as error:
            raise ModelError(f"{shown(url)} is not an address.", "Set HF_ENDPOINT right.") from error
        except (httpx.TransportError, httpx.InvalidURL, zlib.error) as error:
            raise PassingTrouble("took too long to answer" if connections.ended else "broke off") from error

    def _check(self, response: httpx.Response, what: str) -> None:
        status = response.status_code
        if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            return
        if status in PASSING:
            raise PassingTrouble(f"answered {status} {_reason(response)}".rstrip(), _asked_wait(response))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            token = "HF_TOKEN was sent and does not open it" if self.token else "set HF_TOKEN to an access token"
            raise ModelError(
                f"The hub does not show {what}: it is private, gated, or not there ({status}).",
                f"Check the id. If it is gated, accept its terms on the hub's site; {token}.",
            )
        if status == HTTPStatus.NOT_FOUND:
            raise ModelError(f"The hub has no {what}.", "Check the id and the revision; see: llava models list")
        raise ModelError(f"{self._host} answered {status} {_reason(response)}".rstrip() + f" for {what}.")


def _port(url: str) -> int | None:
    parts = urlsplit(url)
    try:
        return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None


def _reason(response: httpx.Response) -> str:
    return " ".join(strip_control(response.reason_phrase).split())[:60]


def _asked_wait(response: httpx.Response) -> float:
    """Seconds that the server asks to wait; 0 when it does not, or names a date."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0
