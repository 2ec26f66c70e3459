"""What the environment says of the network is used, and where it is wrong it is named."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest

from llava_engine.errors import LlavaError
from llava_engine.hub.server import HubServer
from llava_engine.pictures.fetching import fetch
from tests.fakes.raw_server import RawServer, say

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
Ask = Callable[[str], object]


def fetch_picture(url: str) -> object:
    return fetch(url, max_bytes=10_000_000, timeout_s=20, accept="image/png")


def ask_hub(url: str) -> object:
    return HubServer(url, waits_s=()).ask("/api", "a model")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer(say(HEAD + b"Content-Length: 2\r\n\r\n{}")) as running:
        yield running


@pytest.fixture(params=[fetch_picture, ask_hub], ids=["picture", "hub"])
def ask(request: pytest.FixtureRequest) -> Ask:
    found: Ask = request.param
    return found


def refused(ask: Ask, url: str) -> LlavaError:
    with pytest.raises(LlavaError) as caught:
        ask(url)
    assert caught.value.remedy
    assert "\n" not in caught.value.cause + caught.value.remedy
    assert "secret" not in str(caught.value)
    return caught.value


@pytest.mark.skipif(find_spec("socksio") is not None, reason="then a SOCKS proxy is used")
@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "https_proxy"])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_without_its_package(
    ask: Ask, server: RawServer, name: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"{scheme}://me:secret@127.0.0.1:1080")
    error = refused(ask, server.url(""))
    assert "SOCKS" in error.cause and "socksio" in error.remedy
    assert name.lower() in error.cause.lower()


@pytest.mark.parametrize(
    "value", ["socks4://me:secret@127.0.0.1:1", "ftp://secret:1", "http://me:secret@[::1", "quic://x"]
)
def test_a_proxy_that_is_none(ask: Ask, server: RawServer, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    error = refused(ask, server.url(""))
    assert "HTTPS_PROXY" in error.cause and "HTTP_PROXY " not in error.cause


@pytest.mark.parametrize("host", ["pictures.example", "127.0.0.1:10"])
def test_a_proxy_that_does_not_answer(ask: Ask, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://me:secret@127.0.0.1:9")
    error = refused(ask, f"http://{host}/x.png")
    assert "proxy of ALL_PROXY" in error.cause and "ALL_PROXY" in error.remedy


def test_a_proxy_is_used(ask: Ask, server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url(""))
    ask("http://pictures.example/x.png")
    assert server.requests[0].startswith(b"GET http://pictures.example/")


@pytest.mark.parametrize("content", [None, b"", b"no certificate", bytes(100)])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_certificates_that_are_none(
    ask: Ask, server: RawServer, content: bytes | None, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    error = refused(ask, server.url("").replace("http", scheme))
    assert "of SSL_CERT_FILE can" in error.cause


@pytest.mark.skipif(which("openssl") is None, reason="makes a certificate")
@pytest.mark.parametrize("setting", ["", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR"])
def test_a_certificate_that_is_not_trusted(
    ask: Ask, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(pem)], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    (tmp_path / "none").mkdir()
    if setting:
        monkeypatch.setenv(setting, str(tmp_path / "none"))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()

        threading.Thread(target=serve, daemon=True).start()
        error = refused(ask, f"https://127.0.0.1:{listening.getsockname()[1]}")
    assert "certificate that is not trusted" in error.cause
    assert (setting or "SSL_CERT_FILE") in error.remedy


def test_everybody_is_told_who_asks(ask: Ask, server: RawServer) -> None:
    ask(server.url(""))
    assert re.search(
        rb"\r\nuser-agent: llava/\d[^ ]* \(terminal chat for vision-language models.*\)\r\n", server.requests[0], re.I
    )
    assert b"\r\naccept-encoding: identity\r\n" in server.requests[0].lower()


def test_what_was_packed_once_is_unpacked(ask: Ask) -> None:
    packed = gzip.compress(b"{}")
    with RawServer(
        say(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)
    ) as server:
        assert ask(server.url("")) in (b"{}", {})


@pytest.mark.parametrize(
    "packing", [b"gzip, gzip", b"gzip\r\nContent-Encoding: gzip", b"br", b"zstd", b"deflate, gzip"]
)
def test_what_was_packed_otherwise_is_not(ask: Ask, packing: bytes) -> None:
    bomb = gzip.compress(gzip.compress(bytes(10**8)))
    with RawServer(say(HEAD + b"Content-Encoding: " + packing + b"\r\n\r\n" + bomb)) as server:
        assert "broke off" in refused(ask, server.url("")).cause


def test_a_packed_bomb_ends_at_the_limit(ask: Ask) -> None:
    bomb = gzip.compress(bytes(10**8))
    with RawServer(say(HEAD + b"Content-Encoding: gzip\r\n\r\n" + bomb)) as server:
        error = refused(ask, server.url(""))
    assert "larger than 10 MB" in error.cause or "far too much" in error.cause
