"""The one way in which we speak HTTP: who we say that we are, and what the environment's settings mean for a person.

httpx is imported on the first request only.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llava_engine.errors import LlavaError

if TYPE_CHECKING:
    import httpx

    from llava_engine.network.connections import Connections

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_PIECE_BYTES = 2**16  # of unpacked content at once: whoever counts can stop in time


@cache
def user_agent() -> str:
    """Our name, our version and what we are, for some servers refuse whom they do not know."""
    from importlib.metadata import metadata  # here, for it takes longer than all else in this file

    about = metadata("llava")
    links = [line.partition(",")[2].strip() for line in about.get_all("Project-URL") or ()]
    home = "".join(f"; +{link}" for link in links[:1])
    return f"llava/{about['Version']} (terminal chat for vision-language models{home})"


def open_client(error: type[LlavaError], *, direct: bool = False) -> httpx.Client:
    """A client that follows no redirect by itself, and takes proxies and certificates from the environment.

    Args:
        error: the class of what is raised.
        direct: no proxy, and no password of a .netrc: only certificates are the environment's.

    Raises:
        LlavaError: (of the class `error`) the environment names a proxy or certificates that can not be used.
    """
    import httpx

    headers = {"User-Agent": user_agent(), "Accept-Encoding": "identity"}
    try:
        # No connection is used twice: each request's own says where it led.
        limits = httpx.Limits(max_keepalive_connections=0)
        trusted = httpx.create_ssl_context()  # reads SSL_CERT_FILE, which a client without environment would not
        return httpx.Client(
            headers=headers, follow_redirects=False, limits=limits, verify=trusted, trust_env=not direct
        )
    except ImportError as trouble:
        raise error(
            f"The SOCKS proxy of {_set(_PROXIES, 'socks')} needs the Python package socksio, which is not installed.",
            "Install it (pip install socksio), or unset the variable, or set it to an http proxy.",
        ) from trouble
    except OSError as trouble:  # ssl.SSLError is one
        raise error(
            f"The certificates of {_certificates() or 'this system'} can not be read.",
            "Unset it, or set it to a file of certificates in PEM form.",
        ) from trouble
    except (ValueError, httpx.InvalidURL) as trouble:
        raise error(
            f"The proxy of {_set(_PROXIES, broken=True)} is not one that can be used.",
            "Unset it, or write it as http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT.",
        ) from trouble


def why_unreachable(url: str, trouble: Exception, connections: Connections) -> tuple[str, str]:
    """Why no connection came about: a clause ("can not be reached"), and what to do; "" where nothing is known."""
    if _is_certificate(trouble):
        if name := _certificates():
            return "has a certificate that is not trusted", f"Are the certificates of {name} the right ones?"
        bundle = _set(("requests_ca_bundle", "curl_ca_bundle"), fallback="")
        which = f"that of {bundle}" if bundle else "the file of its certificate"
        return (
            "has a certificate that is not trusted",
            f"Behind a proxy that opens encrypted connections, set SSL_CERT_FILE to {which}.",
        )
    if connections.proxied:
        name = _set((f"{urlsplit(url).scheme}_proxy", "all_proxy"))
        return f"can not be reached through the proxy of {name}", f"Is it running? Or unset {name}."
    return "can not be reached", ""


def unpacked(response: httpx.Response) -> Iterator[bytes]:
    """The content of a response as soon as it comes, in pieces of at most 64 KiB, before anybody has packed it.

    We ask for content that is not packed. Some servers pack it once all the same; what is packed twice is an attack:
    5 kB can become 6 GB.

    Raises:
        zlib.error: it is damaged, or packed in another way.
    """
    packing = response.headers.get("content-encoding", "").strip().lower()
    if packing in ("", "identity"):
        yield from response.iter_raw()
        return
    if packing not in ("gzip", "x-gzip", "deflate"):
        raise zlib.error(f"content packed as {packing!r}")
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, as its header says
    for packed in response.iter_raw():
        while packed and not inflate.eof:
            yield inflate.decompress(packed, _PIECE_BYTES)
            packed = inflate.unconsumed_tail
    if not inflate.eof:
        raise zlib.error("the content ends too early")


def _set(names: tuple[str, ...], begins: str = "", *, broken: bool = False, fallback: str = "the system") -> str:
    """The environment variables of these that are set, as a sentence names them."""
    found = {name: value for name, value in os.environ.items() if name.lower() in names and value}
    guilty = [name for name, value in found.items() if value.lower().startswith(begins)]
    if broken:
        guilty = [name for name, value in found.items() if not _is_proxy(value)] or guilty
    return " and ".join(sorted(guilty)) or fallback


def _certificates() -> str:
    """The variable that names the certificates to trust, where one does; httpx asks them in this order."""
    return next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), "")


def _is_proxy(value: str) -> bool:
    import httpx

    try:
        httpx.Proxy(value if "://" in value else f"http://{value}")
    except (ValueError, httpx.InvalidURL):
        return False
    return True


def _is_certificate(trouble: BaseException | None) -> bool:
    import ssl

    while trouble is not None:
        if isinstance(trouble, ssl.SSLCertVerificationError):
            return True
        trouble = trouble.__cause__ or trouble.__context__
    return False
