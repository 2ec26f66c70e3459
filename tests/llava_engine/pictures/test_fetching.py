"""Pictures from servers: a real one on this machine, well behaved or not."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from llava_engine.errors import PictureError
from llava_engine.pictures import opening
from llava_engine.pictures.fetching import MAX_REDIRECTS, fetch
from llava_engine.pictures.opening import open_picture


def _picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(file, "PNG")
    return file.getvalue()


PNG = _picture()


class Server:
    """Answers each path by a function; `url(path)` is where."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        self.ending = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.close_connection = True
                outer.answers[self.path.partition("?")[0]](self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._http.server_port}{path}"

    def give(self, path: str, body: bytes, kind: str | None = "image/png", status: int = 200, **headers: str) -> str:
        given = {"Content-Length": str(len(body))} | ({} if kind is None else {"Content-Type": kind})
        given |= {name.replace("_", "-"): value for name, value in headers.items()}

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in given.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body)

        self.answers[path] = answer
        return self.url(path)

    def redirect(self, path: str, to: str) -> str:
        return self.give(path, b"", None, status=302, Location=to)

    def close(self) -> None:
        self.ending.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running = Server()
    yield running
    running.close()


def refused(url: str, timeout_s: float = 10.0) -> PictureError:
    with pytest.raises(PictureError) as caught:
        open_picture(url, timeout_s=timeout_s)
    assert caught.value.remedy
    assert "\n" not in caught.value.cause + caught.value.remedy
    return caught.value


def test_a_picture_is_fetched_and_named_after_its_address(server: Server) -> None:
    picture = open_picture(server.give("/a/red%20one.png", PNG) + "?size=large")
    assert (picture.name, picture.size, picture.data) == ("red one.png", (20, 10), PNG)
    assert open_picture(server.give("/", PNG)).name == "127.0.0.1"
    assert open_picture(server.url("/"), name="mine").name == "mine"


@pytest.mark.parametrize("kind", [None, "image/webp", "IMAGE/PNG; charset=binary", "application/octet-stream"])
def test_a_server_may_be_vague_about_the_kind_of_picture(server: Server, kind: str | None) -> None:
    assert open_picture(server.give("/x", PNG, kind)).media_type == "image/png"


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json", "video/mp4"])
def test_what_a_server_calls_something_else_is_not_read(server: Server, kind: str) -> None:
    error = refused(server.give("/page", b"<html>", kind))
    assert f"is {kind.partition(';')[0]}, not a picture" in error.cause


def test_redirects_are_followed_so_far_and_no_farther(server: Server) -> None:
    server.give("/0", PNG)
    for step in range(1, 6):
        server.redirect(f"/{step}", f"/{step - 1}")
    assert open_picture(server.url(f"/{MAX_REDIRECTS}")).data == PNG
    assert "redirects more than 3 times" in refused(server.url(f"/{MAX_REDIRECTS + 1}")).cause
    server.redirect("/loop", "/loop")
    server.asked.clear()
    assert "redirects more than 3 times" in refused(server.url("/loop")).cause
    assert len(server.asked) == MAX_REDIRECTS + 1


def test_no_address_reaches_this_machines_files(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(PNG)
    for number, target in enumerate([path.as_uri(), "ftp://127.0.0.1/x.png", "gopher://x/"]):
        error = refused(server.redirect(f"/{number}", target))
        assert "is not an address that pictures are fetched from" in error.cause
    refused(server.redirect("/data", "data:image/png;base64,AAAA"))


@pytest.mark.parametrize("url", ["ftp://a.example/x.png", "javascript://x", "s3://bucket/x.png", "FILE2://x"])
def test_other_schemes_are_refused(url: str) -> None:
    assert "is not an address that pictures are fetched from" in refused(url).cause


@pytest.mark.parametrize(("status", "said"), [(404, "404 Not Found"), (500, "500 Internal"), (204, "204")])
def test_an_error_is_told_with_its_number(server: Server, status: int, said: str) -> None:
    assert said in refused(server.give("/x.png", b"", status=status)).cause


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "can not be reached" in refused(f"http://127.0.0.1:{port}/x.png").cause


@pytest.mark.parametrize(
    "url", ["http://", "http:///x.png", "http://[::1/x.png", "http://a b/x.png", "http://x:99999/"]
)
def test_addresses_that_are_none(url: str) -> None:
    assert "can not be reached" in refused(url).cause


def test_a_large_picture_is_refused_by_its_announced_size(server: Server) -> None:
    error = refused(server.give("/x.png", PNG, Content_Length=str(opening.MAX_BYTES + 1)))
    assert "larger than 50 MB" in error.cause


def test_a_large_picture_is_refused_as_it_arrives(server: Server) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.send_header("Connection", "close")
        handler.end_headers()
        try:
            while not server.ending.is_set():
                handler.wfile.write(b"\0" * 65536)
        except OSError:
            pass  # the caller has hung up

    server.answers["/x.png"] = endless
    with pytest.raises(PictureError, match="larger than 1 MB"):
        fetch(server.url("/x.png"), max_bytes=1_000_000, timeout_s=10, accept="image/png")


def test_a_compressed_bomb_counts_by_what_it_becomes(server: Server) -> None:
    import gzip

    url = server.give("/x.png", gzip.compress(b"\0" * 3_000_000), Content_Encoding="gzip")
    with pytest.raises(PictureError, match="larger than 1 MB"):
        fetch(url, max_bytes=1_000_000, timeout_s=10, accept="image/png")


def test_a_picture_that_breaks_off_is_refused(server: Server) -> None:
    error = refused(server.give("/x.png", PNG[:40], Content_Length=str(len(PNG))))
    assert "broke off" in error.cause


def test_bytes_that_are_no_picture_are_refused(server: Server) -> None:
    assert "x.png is not a picture that we can read" in refused(server.give("/x.png", b"\0no picture")).cause


@pytest.mark.parametrize("part", ["nothing", "headers", "body"])
def test_a_slow_server_does_not_keep_anybody_waiting(server: Server, part: str) -> None:
    """Silent, or dripping byte by byte, so that no single read ever times out."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        if part == "body":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 9999\r\n\r\n")
        try:
            while not server.ending.wait(0.05):
                if part != "nothing":
                    handler.wfile.write(b"H" if part == "headers" else b"\0")
        except OSError:
            pass  # the caller has hung up

    if part == "headers":
        # A line of headers that never ends, after a first one that is right.
        def headers(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-")
            drip(handler)

        server.answers["/x.png"] = headers
    else:
        server.answers["/x.png"] = drip
    assert "took too long" in refused(server.url("/x.png"), timeout_s=0.5).cause
