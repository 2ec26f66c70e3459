"""URLs and network addresses: how they are shown, and which lie in somebody's own network."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from llava_engine.terminal_safe import strip_control

_LONGEST_SHOWN = 100  # letters: a line of a terminal and a little
_AUTHORITY = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*:/*)(?P<rest>.*)", re.DOTALL)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


def shown(url: str) -> str:
    """A URL as it may be shown: no user, no password, no query, no control characters, not too long."""
    text = strip_control(_without_secrets(url)).replace("\n", " ")
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def _without_secrets(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.hostname and (parts.port or 0) >= 0:  # a port that is no number raises: it is half a password
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        pass
    # It does not parse, so nobody can say where a password ends: at the last @, to be sure.
    match = _AUTHORITY.match(url)
    if match is None:
        return url.rpartition("@")[2]
    return match["scheme"] + match["rest"].rpartition("@")[2].partition("?")[0]


def is_private(address: str) -> bool:
    """Whether an IP address is this machine's or a local network's, also where IPv6 wraps an IPv4 address.

    Whatever is not an address of the public internet counts, so reserved and multicast ones do.
    """
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ipaddress.IPv4Address(ip.packed[-4:]) if ip in _NAT64 else ip.ipv4_mapped or ip.sixtofour
        ip = inner or ip
    return not ip.is_global or ip.is_multicast


def names_private(host: str) -> bool:
    """Whether a host says by its name alone that it is private: an address, or localhost (RFC 6761)."""
    host = host.strip("[]").rstrip(".").lower()
    try:
        return is_private(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def resolves_to_private(host: str) -> bool:
    """Whether any of the addresses that a name has is private; a name that has none is not."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(is_private(str(place[0])) for *_, place in found)
