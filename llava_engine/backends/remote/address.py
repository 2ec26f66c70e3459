"""What stands after --engine -> where an OpenAI-compatible server answers.

Knows nothing of what it answers.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from llava_engine.errors import UsageError
from llava_engine.network.addresses import shown

_REMEDY = "Write it as http://HOST:PORT, or as the address that ends in /v1."
_KEY = "A key comes from LLAVA_ENGINE_KEY or --engine-key-file."
_ENDPOINTS = ("/chat/completions", "/models")


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes:
        bases: what may stand before /models and /chat/completions, the likeliest first.
        where: its host, and its port where one is named, for people.
        host: its host, in small letters.
        encrypted: https.
        loopback: this machine.
    """

    bases: tuple[str, ...]
    where: str
    host: str
    encrypted: bool
    loopback: bool

    @classmethod
    def parse(cls, url: str, option: str = "--engine", key: str = _KEY) -> Address:
        """An address as people have it: of the server, of its /v1, or of one endpoint.

        Args:
            url: the address.
            option: that it was given with, for errors.
            key: whence a key comes, for errors.

        Raises:
            UsageError: it is no http(s) address, or holds what has no place in one (a password, a query).
        """
        import httpx

        url = url.strip()
        try:
            if re.search(r"[\s\x00-\x1f\x7f]", url):
                raise ValueError("a blank")
            parts, port = urlsplit(url), urlsplit(url).port
            httpx.URL(url)
        except (ValueError, httpx.InvalidURL):
            raise UsageError(f"{option}: {shown(url)} is no address.", _REMEDY) from None
        if "@" in parts.netloc or parts.query:
            raise UsageError(
                f"{option}: the address holds a name, a password or a query, and those end up in lists of processes.",
                key,
            )
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
            raise UsageError(f"{option}: {shown(url)} is no address of a server.", _REMEDY)
        path = parts.path.rstrip("/")
        for endpoint in _ENDPOINTS:
            path = path.removesuffix(endpoint)
        root = f"{parts.scheme}://{parts.netloc}"
        bases = (root + path,) if path.endswith("/v1") else (f"{root}{path}/v1", *([root + path] if path else []))
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(
            bases,
            host if port is None else f"{host}:{port}",
            parts.hostname.lower(),
            parts.scheme == "https",
            _is_loopback(parts.hostname),
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
