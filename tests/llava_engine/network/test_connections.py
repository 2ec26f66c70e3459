"""Servers that never end, and servers that send us where we should not go."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from llava_engine.errors import LlavaError
from llava_engine.hub import server as hub_server
from llava_engine.hub.server import HubServer
from llava_engine.network import addresses, connections
from llava_engine.network.connections import Connections, ForbiddenRedirectError
from llava_engine.pictures.fetching import fetch
from tests.fakes.raw_server import RawServer, Talk, drip, say

OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
PUBLIC = "127.0.0.2"  # is taken for an address of the internet below
Ask = Callable[[str], object]

ENDLESS = {
    "nothing": drip(b"", b"", 0.05),
    "100 Continue": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0),
    "a status line": drip(b"", b"H"),
    "a header": drip(b"HTTP/1.1 200 OK\r\nX-", b"a"),
    "a body": drip(OK + b"Content-Length: 9999\r\n\r\n", b" "),
    "a body without a length": drip(OK + b"\r\n", b" "),
    "a chunk's length": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a"),
    "trailers": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"a"),
    "small chunks": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


def fetch_picture(url: str) -> object:
    return fetch(url, max_bytes=10**6, timeout_s=0.6, accept="image/png")


def ask_hub(url: str) -> object:
    return HubServer(url, timeout_s=0.6, waits_s=()).ask("/api", "a model")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_server, "LISTING_S", 0.8)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("ask", [fetch_picture, ask_hub])
@pytest.mark.parametrize("what", ENDLESS)
def test_what_never_ends_is_ended_by_the_clock_thread_and_all(ask: Ask, what: str) -> None:
    before = set(threading.enumerate())
    with RawServer(ENDLESS[what]) as server:
        of_the_server = set(threading.enumerate()) - before
        started = time.monotonic()
        with pytest.raises(LlavaError, match="took too long"):
            ask(server.url())
        assert time.monotonic() - started < 10
        for thread in set(threading.enumerate()) - before - of_the_server:
            if thread.name == "picture-fetch" or isinstance(thread, threading.Timer):  # else the server's own
                thread.join(2)
                assert not thread.is_alive()


@pytest.mark.parametrize("ask", [fetch_picture, ask_hub])
def test_an_encrypted_connection_that_is_never_made(ask: Ask) -> None:
    """The head of a TLS record of 16 KB, and then a byte now and then."""
    with RawServer(drip(b"\x16\x03\x03\x40\x00", b"\2")) as server:
        started = time.monotonic()
        with pytest.raises(LlavaError, match="took too long"):
            ask(server.url().replace("http", "https"))
        assert time.monotonic() - started < 10


@pytest.fixture
def _two_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One address of this machine is the internet, all others are private."""
    if sys.platform != "linux":
        pytest.skip("only Linux answers at all of 127.0.0.0/8")
    for module in (addresses, connections):
        monkeypatch.setattr(module, "is_private", lambda address: str(ip_address(address)) != PUBLIC)


def redirect(to: str) -> Talk:
    return say(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + to.encode() + b"\r\n\r\n")


BODY = say(OK + b"Content-Length: 2\r\n\r\n{}")


@pytest.mark.usefixtures("_two_networks")
@pytest.mark.parametrize("ask", [fetch_picture, ask_hub])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1"])
def test_the_internet_does_not_lead_into_a_private_network(ask: Ask, host: str) -> None:
    with RawServer(BODY) as private, RawServer(redirect(private.url(host=host)), PUBLIC) as public:
        with pytest.raises(LlavaError, match=r"redirects to (a private address|where nothing)"):
            ask(public.url())
        assert private.connections == 0


@pytest.mark.usefixtures("_two_networks")
@pytest.mark.parametrize("ask", [fetch_picture, ask_hub])
def test_nor_by_way_of_a_second_public_address(ask: Ask) -> None:
    with (
        RawServer(BODY) as private,
        RawServer(redirect(private.url()), PUBLIC) as second,
        RawServer(redirect(second.url()), PUBLIC) as first,
    ):
        with pytest.raises(LlavaError, match="redirects to"):
            ask(first.url())
        assert private.requests == []


@pytest.mark.usefixtures("_two_networks")
@pytest.mark.parametrize("ask", [fetch_picture, ask_hub])
def test_a_name_that_changes_its_address_in_between_does_not_help(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = socket.getaddrinfo, []

    def changing(host: str, *rest: object, **more: object) -> object:
        if host == "changing.example":
            asked.append(host)
            host = PUBLIC if len(asked) == 1 else "127.0.0.1"
        return real(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    with RawServer(BODY) as private, RawServer(redirect(private.url(host="changing.example")), PUBLIC) as public:
        with pytest.raises(LlavaError, match="redirects to a private address"):
            ask(public.url())
        assert len(asked) == 2
        assert private.requests in ([], [b""]), "connected to, but nothing was asked"


@pytest.mark.usefixtures("_two_networks")
@pytest.mark.parametrize("ask", [fetch_picture, ask_hub])
def test_what_the_user_asked_for_may_be_private_and_lead_anywhere(ask: Ask) -> None:
    with RawServer(BODY) as private, RawServer(redirect(private.url())) as other, RawServer(BODY, PUBLIC) as public:
        assert ask(other.url()) in (b"{}", {})
        with RawServer(redirect(public.url())) as third:
            assert ask(third.url()) in (b"{}", {})


@pytest.mark.usefixtures("_two_networks")
def test_behind_a_proxy_a_name_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(redirect("http://127.0.0.1:1/x.png")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url(""))
        with pytest.raises(LlavaError, match="redirects to a private address"):
            fetch_picture("http://pictures.example/x.png")
        assert len(proxy.requests) == 1


def test_encryption_is_not_given_up_on_the_way() -> None:
    with pytest.raises(ForbiddenRedirectError, match="encrypted"):
        Connections().leave("https://hub.example/a", "http://hub.example/b")
