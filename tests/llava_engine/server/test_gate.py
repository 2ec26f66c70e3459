"""Who may come in, and what may not be sent: keys, names, pages of others, bodies, addresses of pictures."""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from llava_engine.network import addresses, connections
from llava_engine.pictures import fetching
from llava_engine.server import limits
from tests.fakes.fake_picture import png_bytes
from tests.fakes.raw_server import RawServer, say
from tests.llava_engine.server.api import CHAT, HELLO, api, data_url, error, user

JSON = {"content-type": "application/json"}


def told(response: Any) -> str:
    return str(response.json()["error"]["code"])


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/fake", "/v1/nothing", "/metrics"])
@pytest.mark.parametrize("shown", [None, "", "Bearer", "Bearer wrong", "Bearer sEcret", "Basic !", "Digest secret"])
def test_without_the_key_nothing_is_answered(path: str, shown: str | None) -> None:
    headers = {} if shown is None else {"authorization": shown}
    response = api(key="secret").ask("GET", path, headers=headers)
    assert error(response, 401, "invalid_api_key")["type"] == "authentication_error"
    assert response.headers["www-authenticate"] == "Bearer"


def test_with_the_key_everything_is() -> None:
    server = api(key="secret é")
    key = "secret é".encode().decode("latin-1")
    assert server.chat().status_code == 401
    for shown in (f"Bearer {key}", f"bearer   {key}"):
        headers = {"authorization": shown.encode("latin-1")}
        assert server.ask("POST", CHAT, json=HELLO, headers=headers).status_code == 200
        assert server.ask("GET", "/v1/models", headers=headers).status_code == 200
    assert server.ask("GET", "/").status_code == 200  # the page asks for it
    assert server.ask("GET", "/v1/models?key=secret").status_code == 401


@pytest.mark.parametrize("key", ["voilà", "Å", "Ωμέγα", "鍵", "a b", "~!$"])
def test_a_key_may_have_any_letters(key: str) -> None:
    shown = f"Bearer {key}".encode()
    assert api(key=key).ask("GET", "/v1/models", headers={"authorization": shown}).status_code == 200
    assert api(key=key).ask("GET", "/v1/models", headers={"authorization": shown + b"x"}).status_code == 401


HOSTS = ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::1", "a b"]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/", "/health", "/v1/models"])
def test_a_name_that_is_not_ours_is_not_answered(host: str, path: str) -> None:
    assert told(api().ask("GET", path, headers={"host": host})) == "foreign_host"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost", "LOCALHOST.:1", "[::1]:8000", "192.168.1.7", "eyes.example"]
)
def test_our_own_names_are(host: str) -> None:
    assert api(hosts=frozenset({"eyes.example"})).ask("GET", "/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8000", ""]
)
def test_pages_of_others_are_not_answered(origin: str) -> None:
    server = api()
    for path in ("/", "/v1/models"):
        assert error(server.ask("GET", path, headers={"origin": origin}), 403, "foreign_origin")
    response = server.ask("POST", CHAT, json=HELLO, headers={"origin": origin})
    assert error(response, 403, "foreign_origin")
    assert "access-control-allow-origin" not in response.headers
    assert not server.engine.conversations  # type: ignore[attr-defined]


def test_our_own_page_is() -> None:
    headers = {"origin": "http://127.0.0.1:8000"}
    assert api().ask("POST", CHAT, json=HELLO, headers=headers).status_code == 200


def test_a_page_that_was_let_in_may_ask_and_read() -> None:
    server = api(cors=("https://friend.example",), key="secret")
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    allowed = server.ask("OPTIONS", CHAT, headers={"origin": "https://friend.example", **asks})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://friend.example"
    assert server.ask("OPTIONS", CHAT, headers={"origin": "https://evil.example", **asks}).status_code == 400
    headers = {"origin": "https://friend.example", "authorization": "Bearer secret"}
    response = server.ask("POST", CHAT, json=HELLO, headers=headers)
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, "https://friend.example")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_page_could_send_without_asking_is_not_read(kind: str) -> None:
    server = api()
    for path in (CHAT, f"{CHAT}/input_tokens", "/v1/votes"):
        response = server.ask("POST", path, content=json.dumps(HELLO), headers={"content-type": kind})
        assert error(response, 415, "not_json")
    assert not server.engine.conversations  # type: ignore[attr-defined]
    content = json.dumps(HELLO)
    assert server.ask(
        "POST", CHAT, content=content, headers={"content-type": "Application/JSON; charset=utf-8"}
    ).is_success


def test_a_body_has_a_limit_announced_or_not() -> None:
    server = api(max_body=1000)
    body = json.dumps(HELLO).encode().ljust(1000)
    assert server.post(body).status_code == 200

    async def in_pieces() -> Any:
        for _ in range(3):
            yield b" " * 400

    for content in (body + b" ", in_pieces()):
        response = server.ask("POST", CHAT, content=content, headers=JSON)
        assert error(response, 413, "body_too_large")
        assert response.headers["connection"] == "close"


def test_a_body_has_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_S", 0.05)

    async def slowly() -> Any:
        import asyncio

        yield b"{"
        await asyncio.sleep(0.3)
        yield b"}"

    assert error(api().ask("POST", CHAT, content=slowly(), headers=JSON), 408, "request_timeout")


ADDRESSES = [
    "https://example.org/a.png", "http://127.0.0.1/a.png", "file:///etc/passwd", "/etc/passwd", "~/a.png", "a.png", "",
    "ftp://example.org/a.png", "https:example.org",
]  # fmt: skip


@pytest.mark.parametrize("url", ADDRESSES)
def test_addresses_are_off(url: str) -> None:
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    refused = error(api().chat({"messages": [message]}), 400, "image_url_not_allowed")
    assert refused["param"] == "messages[0].content[0].image_url"


@pytest.mark.parametrize(
    "url",
    [
        *ADDRESSES[1:], "http://example.org/a.png", "https://example.org:8443/a.png", "https://evil.example/a.png",
        "https://example.org@evil.example/a.png", "https://example.org.evil.example/", "https://169.254.169.254/latest",
        "https://localhost/a.png", "https://[::ffff:127.0.0.1]/a.png", "https://example.org:x/",
    ],
)  # fmt: skip
def test_only_the_hosts_that_were_named_are_asked_and_only_over_https(url: str) -> None:
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    server = api(fetch_from=frozenset({"example.org"}))
    assert error(server.chat({"messages": [message]}), 400, "image_url_not_allowed")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "10.0.0.1", "[::1]", "169.254.169.254"])
def test_a_private_network_is_never_asked_even_when_it_was_named(host: str) -> None:
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"https://{host}/a.png"}}]}
    server = api(fetch_from=frozenset({host.strip("[]")}))
    assert error(server.chat({"messages": [message]}), 400, "image_url_not_allowed")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers at all of 127.0.0.0/8")
def test_a_picture_is_fetched_from_where_it_may_be_and_a_redirect_must_lead_there_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One address of this machine is the internet, and encryption is taken for given."""
    monkeypatch.setattr(connections, "is_private", lambda address: address != "127.0.0.2")
    monkeypatch.setattr(addresses, "is_private", lambda address: address != "127.0.0.2")
    real = fetching._check_host

    def as_if_encrypted(url: str, start: str, hosts: Any) -> None:
        parts = urlsplit(url)
        real(f"https://{parts.hostname}{parts.path}", start, hosts)

    monkeypatch.setattr(fetching, "_check_host", as_if_encrypted)
    data = png_bytes()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    with RawServer(say(head + data), "127.0.0.2") as friend, RawServer(say(head + data)) as private:

        def ask(url: str) -> Any:
            server = api(fetch_from=frozenset({"127.0.0.2"}))
            message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
            return server, server.chat({"messages": [message]})

        server, answer = ask(friend.url())
        assert answer.status_code == 200
        assert server.engine.conversations[0].pictures[0].data == data
        for there in (private.url(), "http://evil.example/x.png"):
            moved = f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {there}\r\n\r\n".encode()
            with RawServer(say(moved), "127.0.0.2") as moving:
                assert error(ask(moving.url())[1], 400, "image_url_not_allowed")
        assert private.connections == 0


def noisy(kind: str, size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        b"%PDF-1.7 x",
        png_bytes()[:40],
        noisy("PNG")[:-2000],
        noisy("JPEG")[:2000],
        noisy("WEBP")[:200],
    ],
    ids=["empty", "text", "pdf", "header", "png", "jpeg", "webp"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_broken_picture_is_that_requests_error(data: bytes, stream: bool) -> None:
    server = api()
    assert error(server.chat({"messages": [user(data, "x")]}, stream=stream), 400, "invalid_image")
    assert server.chat().status_code == 200


def test_broken_base64_too() -> None:
    for url in ("data:image/png;base64,!!!", "data:image/png;base64", "data:", "data:image/png;base64," + "A" * 5):
        message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
        assert error(api().chat({"messages": [message]}), 400, "invalid_image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_pixels_are_limited_by_the_header(kind: str) -> None:
    data = noisy(kind, (200, 101))
    assert api(max_pixels=20_200).chat({"messages": [user(data)]}).status_code == 200
    refused = error(api(max_pixels=20_199).chat({"messages": [user(data)]}), 400, "invalid_image")
    assert "megapixels" in refused["message"]


def test_so_many_pictures_and_no_more() -> None:
    server = api(max_pictures=2)
    assert server.chat({"messages": [user(png_bytes(), png_bytes("blue"))]}).status_code == 200
    assert error(server.chat({"messages": [user(*[png_bytes()] * 3)]}), 400, "invalid_image")


@pytest.mark.parametrize(
    ("way", "size", "corner"), [("crop", 48, "red"), ("resize", 48, "red"), ("pad", 64, (122, 116, 104))]
)
def test_pictures_are_made_square_where_that_is_asked(way: str, size: int, corner: Any) -> None:
    server = api()
    data = png_bytes("red", (64, 48))
    server.chat({"messages": [user(data)]}, llava_preprocess=way)
    (picture,) = server.engine.conversations[0].pictures  # type: ignore[attr-defined]
    assert picture.image.size == picture.size == (size, size)
    assert picture.image.getpixel((0, 0)) == ((255, 0, 0) if corner == "red" else corner)
    assert picture.sha256 != hashlib.sha256(data).hexdigest()


def test_the_page_lets_nothing_in_but_its_own_files() -> None:
    server = api()
    page = server.ask("GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|https?://", page.text)
    for path in ("/../settings.py", "/%2e%2e/settings.py", "/..%2fsettings.py", "//etc/passwd"):
        assert server.ask("GET", path).status_code == 404


def vote(kind: str = "upvote") -> dict[str, Any]:
    messages = [
        {"role": "system", "content": "Be."},
        user(png_bytes(), "What?"),
        {"role": "assistant", "content": "A cat."},
    ]
    return {"type": kind, "model": "fake", "messages": messages}


def test_votes_are_kept_only_where_that_is_asked(tmp_path: Path) -> None:
    assert error(api().ask("POST", "/v1/votes", json=vote()), 404, "no_votes")
    path = tmp_path / "votes.jsonl"
    server = api(votes=path)
    for kind in ("upvote", "downvote", "flag"):
        assert server.ask("POST", "/v1/votes", json=vote(kind)).json() == {"kept": True}
    assert server.ask("POST", "/v1/votes", json=vote("love")).status_code == 400
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["type"] for line in lines] == ["upvote", "downvote", "flag"]
    assert set(lines[0]) == {"tstamp", "type", "model", "state", "ip"}  # as the original's page logged them
    assert (lines[0]["model"], lines[0]["ip"]) == ("fake", "")
    assert lines[0]["state"]["messages"] == [["user", "What?"], ["assistant", "A cat."]]
    assert lines[0]["state"]["images"] == [hashlib.sha256(png_bytes()).hexdigest()]
    assert data_url()[-30:] not in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_disk_that_does_not_take_a_vote_is_told(tmp_path: Path) -> None:
    told = error(api(votes=tmp_path).ask("POST", "/v1/votes", json=vote()), 507, "not_kept")
    assert str(tmp_path) not in told["message"]


def test_a_disk_that_becomes_full_leaves_whole_votes_only(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "votes.jsonl"
    server = api(votes=path)
    assert server.ask("POST", "/v1/votes", json=vote()).is_success
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))  # a part of a line fits
    try:
        assert error(server.ask("POST", "/v1/votes", json=vote()), 507, "not_kept")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert server.ask("POST", "/v1/votes", json=vote("flag")).is_success
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["upvote", "flag"]
