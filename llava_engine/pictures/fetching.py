"""An http(s) URL -> its bytes, within limits: size, redirects, total time, content type, and no other scheme.

Knows nothing of pictures but what a server may call one. httpx is imported on the first fetch only.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Collection
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from llava_engine.errors import PictureError
from llava_engine.network.addresses import shown
from llava_engine.network.client import open_client, unpacked, why_unreachable
from llava_engine.network.connections import Connections, ForbiddenRedirectError, TimeUpError
from llava_engine.terminal_safe import strip_control

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 3
_UNTYPED = ("", "application/octet-stream", "binary/octet-stream")
_NETWORK_REMEDY = "Check the address and the network, or save the picture and open it."
_ENDING_S = 1.0  # how long a thread may take to notice that its connections were shut


class ForbiddenAddressError(PictureError):
    """An address that a stranger gave, on no host from which pictures may be fetched, or leading to one."""


def fetch(url: str, *, max_bytes: int, timeout_s: float, accept: str, hosts: Collection[str] | None = None) -> bytes:
    """The bytes behind a URL.

    Args:
        url: http or https; every redirect must be too.
        max_bytes: more than this, unpacked, is refused, at the latest when it arrives.
        timeout_s: for everything together: names, connections, redirects, the body.
        accept: the kinds that the server may choose from, as the header says them.
        hosts: for an address that a stranger gave: only these, in lower case, over https on its usual port, at no step
            another one, and nothing in a private network. None for an address that the user gave.

    Raises:
        ForbiddenAddressError: `hosts` do not allow it.
        PictureError: forbidden scheme, unreachable, too slow, too large, too many redirects or one into a private
            network, an error status, or something that the server does not call a picture.
    """
    result: list[bytes | BaseException] = []
    with Connections(public_only=hosts is not None) as connections:

        def work() -> None:
            try:
                result.append(_follow(url, max_bytes, time.monotonic() + timeout_s, accept, hosts, connections))
            except BaseException as error:  # handed to the caller below
                result.append(error)

        # Nothing limits the look-up of a name, so the caller stops waiting for the thread. Once its connections are
        # shut the thread ends at once, unless it is still looking for a name.
        thread = threading.Thread(target=work, name="picture-fetch", daemon=True)
        thread.start()
        try:
            thread.join(timeout_s)
        finally:
            connections.end()
        thread.join(_ENDING_S)
    if not result:
        raise _too_slow(url)
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


def _follow(
    url: str,
    max_bytes: int,
    deadline: float,
    accept: str,
    hosts: Collection[str] | None,
    connections: Connections,
) -> bytes:
    import httpx

    start = url
    try:
        with open_client(PictureError) as client:
            for _ in range(MAX_REDIRECTS + 1):
                _check_scheme(url, start)
                if hosts is not None:
                    _check_host(url, start, hosts)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise _too_slow(url)
                known = connections.extensions(httpx.URL(url))
                with client.stream("GET", url, headers={"Accept": accept}, timeout=left, extensions=known) as response:
                    if not response.is_redirect:
                        body = _body(url, response, max_bytes)
                        if connections.ended:
                            raise _too_slow(url)
                        return body
                    there = urljoin(url, response.headers.get("location", ""))
                    _check_scheme(there, start)
                    connections.leave(url, there)
                    url = there
    except ForbiddenRedirectError as error:
        leads, kind = ("redirects", PictureError) if hosts is None else ("leads", ForbiddenAddressError)
        raise kind(
            f"{shown(start)} {leads} {error}, and that is not followed.", "Give the picture's own address instead."
        ) from error
    except (httpx.TimeoutException, TimeUpError) as error:
        raise _too_slow(url) from error
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ValueError, zlib.error) as error:
        if connections.ended:
            raise _too_slow(url) from error
        if isinstance(error, (httpx.RemoteProtocolError, httpx.ReadError, zlib.error)):
            raise PictureError(f"{shown(url)} broke off before the picture was complete.", "Try again.") from error
        clause, remedy = why_unreachable(url, error, connections)
        raise PictureError(f"{shown(url)} {clause}.", remedy or _NETWORK_REMEDY) from error
    raise PictureError(
        f"{shown(start)} redirects more than {MAX_REDIRECTS} times.", "Give the picture's own address instead."
    )


def _check_scheme(url: str, start: str) -> None:
    scheme = url.partition(":")[0].lower()
    if scheme in ("http", "https"):
        return
    named = shown(url) if url == start else f"{shown(start)} redirects to {strip_control(scheme)}:, and that"
    raise PictureError(f"{named} is not an address that pictures are fetched from.", "Use an http or https address.")


def _check_host(url: str, start: str, hosts: Collection[str]) -> None:
    try:
        parts = urlsplit(url)
        allowed = (parts.hostname or "").lower() in hosts and parts.scheme == "https" and parts.port in (None, 443)
    except ValueError:  # a port that is none
        allowed = False
    if not allowed:
        named = shown(url) if url == start else f"{shown(start)} redirects to {shown(url)}, and that"
        raise ForbiddenAddressError(
            f"{named} is no address that pictures may be fetched from here.", "Send the picture itself."
        )


def _body(url: str, response: httpx.Response, max_bytes: int) -> bytes:
    if response.status_code != HTTPStatus.OK:
        reason = " ".join(strip_control(response.reason_phrase).split())[:60]
        raise PictureError(
            f"{shown(url)} answered {response.status_code} {reason}".rstrip() + ".", "Check the address in a browser."
        )
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind not in _UNTYPED:
        raise PictureError(
            f"{shown(url)} is {strip_control(kind)[:60]}, not a picture.",
            "Give the address of the picture itself, not of a page that shows it.",
        )
    length = response.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > 15 or int(length) > max_bytes):
        raise _too_large(url, max_bytes)
    received = bytearray()
    for piece in unpacked(response):
        received += piece
        if len(received) > max_bytes:
            raise _too_large(url, max_bytes)
    return bytes(received)


def _too_slow(url: str) -> PictureError:
    return PictureError(f"{shown(url)} took too long.", "Try again, or save the picture and open the file.")


def _too_large(url: str, max_bytes: int) -> PictureError:
    return PictureError(
        f"{shown(url)} is larger than {max_bytes / 1e6:.0f} MB.", "Save it, make it smaller and open the file."
    )
