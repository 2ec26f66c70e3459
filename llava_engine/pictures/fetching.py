"""An http(s) URL -> its bytes, within limits: size, redirects, total time, content type, and no other scheme.

Knows nothing of pictures but what a server may call one. httpx is imported on the first fetch only.
"""

from __future__ import annotations

import threading
import time
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

from llava_engine.errors import PictureError
from llava_engine.terminal_safe import strip_control

MAX_REDIRECTS = 3
_ACCEPT = {"User-Agent": "llava", "Accept": "image/*", "Accept-Encoding": "identity"}
_UNTYPED = ("", "application/octet-stream", "binary/octet-stream")


def fetch(url: str, *, max_bytes: int, timeout_s: float) -> bytes:
    """The bytes behind a URL.

    Args:
        url: http or https; every redirect must be too.
        max_bytes: more than this is refused, at the latest when it arrives.
        timeout_s: for everything together: names, connections, redirects, the body.

    Raises:
        PictureError: forbidden scheme, unreachable, too slow, too large, too many redirects, an error status, or
            something that the server does not call a picture.
    """
    result: list[bytes | BaseException] = []

    def work() -> None:
        try:
            result.append(_follow(url, max_bytes, time.monotonic() + timeout_s))
        except BaseException as error:  # handed to the caller below
            result.append(error)

    # httpx limits each read, not their sum, and nothing limits the look-up of a name: so the caller stops waiting,
    # and the thread ends by itself at its next read.
    thread = threading.Thread(target=work, name="picture-fetch", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not result:
        raise _too_slow(url)
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


def shown(url: str) -> str:
    """A URL as it may be shown: no password, no query, no control characters, not too long."""
    try:
        parts = urlsplit(url)
        text = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        text = url
    text = strip_control(text).replace("\n", " ")
    return text if len(text) <= 100 else text[:99] + "…"


def _follow(url: str, max_bytes: int, deadline: float) -> bytes:
    import httpx

    start = url
    try:
        with httpx.Client(headers=_ACCEPT, follow_redirects=False) as client:
            for _ in range(MAX_REDIRECTS + 1):
                _check_scheme(url, start)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise _too_slow(url)
                with client.stream("GET", url, timeout=left) as response:
                    if not response.is_redirect:
                        return _body(url, response, max_bytes, deadline)
                    url = urljoin(url, response.headers.get("location", ""))
    except httpx.TimeoutException as error:
        raise _too_slow(url) from error
    except httpx.RemoteProtocolError as error:
        raise PictureError(f"{shown(url)} broke off before the picture was complete.", "Try again.") from error
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise PictureError(
            f"{shown(url)} can not be reached.", "Check the address and the network, or save the picture and open it."
        ) from error
    raise PictureError(
        f"{shown(start)} redirects more than {MAX_REDIRECTS} times.", "Give the picture's own address instead."
    )


def _check_scheme(url: str, start: str) -> None:
    scheme = urlsplit(url).scheme.lower()
    if scheme in ("http", "https"):
        return
    named = shown(url) if url == start else f"{shown(start)} redirects to {scheme}:, and that"
    raise PictureError(f"{named} is not an address that pictures are fetched from.", "Use an http or https address.")


def _body(url: str, response: object, max_bytes: int, deadline: float) -> bytes:
    import httpx

    assert isinstance(response, httpx.Response)
    if response.status_code != HTTPStatus.OK:
        reason = strip_control(response.reason_phrase)
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
    if length.isascii() and length.isdigit() and int(length) > max_bytes:
        raise _too_large(url, max_bytes)
    received = bytearray()
    for chunk in response.iter_bytes():
        received += chunk
        if len(received) > max_bytes:
            raise _too_large(url, max_bytes)
        if time.monotonic() > deadline:
            raise _too_slow(url)
    return bytes(received)


def _too_slow(url: str) -> PictureError:
    return PictureError(f"{shown(url)} took too long.", "Try again, or save the picture and open the file.")


def _too_large(url: str, max_bytes: int) -> PictureError:
    return PictureError(
        f"{shown(url)} is larger than {max_bytes / 1e6:.0f} MB.", "Save it, make it smaller and open the file."
    )
