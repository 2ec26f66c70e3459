"""Finding out what is at an address: its model, what that can hold, whether it sees; and whose key goes there."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from llava_engine.backends.opening import open_engine
from llava_engine.backends.remote.address import Address
from llava_engine.backends.remote.engine import RemoteEngine
from llava_engine.backends.remote.key import Key, find_key
from llava_engine.contract import Reply
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import (
    ConversationError,
    EngineAwayError,
    LlavaError,
    LoadCancelledError,
    ModelError,
    UsageError,
)
from llava_engine.opening import EngineSource, Placement
from tests.fakes.fake_picture import fake_picture
from tests.fakes.far_server import FarServer, Said, problem
from tests.fakes.raw_server import RawServer, say
from tests.fakes.recorded_streams import RECORDED, TEXT, Recorded

SEEN = Conversation((Message.user("?", [fake_picture()]),))


def opened(server: FarServer, model: str | None = None) -> RemoteEngine:
    return RemoteEngine.open(server.url, model, environment={})


def listing(*names: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


def having(models: Any, **places: Any) -> FarServer:
    return FarServer(RECORDED["openai"], places={"/v1/models": models, **places})


def test_one_model_needs_no_name_and_several_are_listed() -> None:
    with having(listing("only")) as server:
        assert opened(server).card.name == "only"
    with having(listing("first", "second")) as server:
        assert opened(server, "second").card.name == "second"
        with pytest.raises(ModelError, match=r"first, second") as raised:
            opened(server)
        assert "--model" in raised.value.remedy
        with pytest.raises(ModelError, match=r"no model third.*first, second"):
            opened(server, "third")


def test_a_list_of_hundreds_is_cut_to_the_close_ones_and_stripped() -> None:
    names = [f"maker/model-{number}" for number in range(300)] + ["maker/llava\x1b[31m-13b", "llava-7b"]
    with having(listing(*names)) as server, pytest.raises(ModelError) as raised:
        opened(server, "llava")
    assert "maker/llava-13b, llava-7b" in raised.value.cause
    assert "\x1b" not in raised.value.cause
    with having(listing(*names)) as server, pytest.raises(ModelError) as raised:
        opened(server)
    assert "and 290 more" in raised.value.cause


def test_ollama_s_latest_needs_no_tag() -> None:
    with having(listing("llava:latest", "other:7b")) as server:
        engine = opened(server, "llava")
        assert engine.card.name == "llava:latest"


@pytest.mark.parametrize(
    "models",
    [
        problem(200, b"<html>hello</html>", kind="text/html"),
        problem(200, b"{}"),
        problem(200, b'{"data": {"id": "x"}}'),
        problem(200, b'{"data": [1, null, {"id": 7}, {"id": ""}]}'),
        problem(200, b"\xff\xfe"),
        problem(200, b"[" * 200_000),
        problem(200, b"x" * (2**23 + 10)),
        problem(401, {"error": {"message": "no key"}}),
        problem(404, {"error": {"message": "nothing here"}}),
        problem(500, b"oh"),
        problem(503, {"error": {"message": "Loading model"}}),
        problem(308, b"", ("Location", "https://elsewhere.example/v1/models")),
    ],
    ids=["page", "object", "no list", "no names", "no text", "deep", "large", "401", "404", "500", "503", "308"],
)
def test_what_is_no_list_of_models_is_one_line(models: Said) -> None:
    with having(models) as server, pytest.raises(LlavaError) as raised:
        opened(server)
    assert isinstance(raised.value, (EngineAwayError, ModelError))
    assert server.where in raised.value.cause
    assert "\n" not in raised.value.cause


@pytest.mark.parametrize("url", ["{}", "{}/", "{}/v1", "{}/v1/", "{}/v1/models", "{}/v1/chat/completions"])
def test_an_address_as_people_have_it(url: str) -> None:
    with FarServer(RECORDED["vllm"]) as server:
        RemoteEngine.open(url.format(server.url), environment={})
        assert server.requests[0].path == "/v1/models"


def test_behind_a_path() -> None:
    with FarServer(RECORDED["openai"], places={"/api/openai/models": listing("m")}) as server:
        assert RemoteEngine.open(f"{server.url}/api/openai", environment={}).card.name == "m"


@pytest.mark.parametrize(
    "url",
    [
        "gpu1:8000",
        "ftp://gpu1",
        "http://",
        "http://gpu1:port",
        "http://name:secret@gpu1:8000",
        "https://gpu1/v1?key=secret",
        "http://gpu 1",
        "http://[::1",
        "//gpu1",
        "http://gpu1/#x",
    ],
)
def test_what_is_no_address_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        Address.parse(url)
    assert "--engine" in raised.value.cause
    assert "secret" not in str(raised.value)


def test_plain_http_beyond_this_machine_is_told_and_else_nothing_is() -> None:
    for url, told in (
        ("http://gpu1:8000", True),
        ("https://gpu1", False),
        ("http://127.0.0.1:1", False),
        ("http://localhost:1", False),
        ("http://[::1]:1", False),
    ):
        address = Address.parse(url)
        assert (not address.encrypted and not address.loopback) == told


def test_nobody_there_is_one_line() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(EngineAwayError, match="can not be reached"):
            RemoteEngine.open(f"http://127.0.0.1:{silent.getsockname()[1]}", environment={})


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_something_else_there_is_one_line(said: bytes) -> None:
    with RawServer(say(said)) as server, pytest.raises(EngineAwayError):
        RemoteEngine.open(server.url(""), environment={})


def test_https_where_there_is_none_is_one_line() -> None:
    with FarServer(RECORDED["vllm"]) as server, pytest.raises(EngineAwayError) as raised:
        RemoteEngine.open(server.url.replace("http:", "https:"), environment={})
    assert "\n" not in raised.value.cause


@pytest.mark.skipif(which("openssl") is None, reason="makes a certificate")
def test_a_certificate_is_trusted_that_ssl_cert_file_names_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(pem)], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with FarServer(RECORDED["vllm"], context=context) as server:
        with pytest.raises(EngineAwayError, match="certificate that is not trusted") as raised:
            RemoteEngine.open(server.url, environment={"LLAVA_ENGINE_KEY": "k"})
        assert "SSL_CERT_FILE" in raised.value.remedy
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        engine = RemoteEngine.open(server.url, environment={})
        *_, reply = engine.stream(SEEN)
    assert isinstance(reply, Reply) and reply.text == TEXT
    assert engine.card.notes == ()


def test_looking_for_it_can_be_cancelled() -> None:
    with FarServer(RECORDED["vllm"]) as server, pytest.raises(LoadCancelledError):
        RemoteEngine.open(server.url, environment={}, cancelled=lambda: True)


# Whether it sees


@pytest.mark.parametrize(
    ("kind", "places"),
    [
        ("llama-server", {"/props": {"modalities": {"vision": False}, "total_slots": 1}}),
        ("sglang", {"/model_info": {"has_image_understanding": False}}),
        ("ollama", {"/api/show": {"capabilities": ["completion", "tools"], "model_info": {"x": 1}}}),
    ],
)
def test_a_model_that_can_not_see_is_known_before_it_is_asked(kind: str, places: dict[str, Any]) -> None:
    with FarServer(RECORDED[kind], places=places) as server:
        engine = opened(server)
        assert "pictures" in engine.card.cannot
        with pytest.raises(ConversationError, match="can not see"):
            list(engine.stream(SEEN))
        assert server.questions == []


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
def test_where_nothing_says_that_it_can_not_it_is_asked(recorded: Recorded) -> None:
    with FarServer(recorded) as server:
        engine = opened(server)
        assert "pictures" not in engine.card.cannot
        list(engine.stream(SEEN))
        assert len(server.questions) == 1


def test_a_row_that_tells_context_and_senses() -> None:
    row = {"id": "m", "context_length": 8000, "architecture": {"input_modalities": ["text"]}}
    with having({"data": [row]}) as server:
        card = opened(server).card
    assert card.context_length == 8000
    assert "pictures" in card.cannot


@pytest.mark.parametrize("value", [-1, 0, True, "4096", 1e9, None, 10**30, [], {}])
def test_a_context_that_is_none_is_not_known(value: Any) -> None:
    with having(
        {"data": [{"id": "m", "max_model_len": value, "meta": value, "slots": value, "owned_by": "llava"}]}
    ) as server:
        assert opened(server).card.context_length is None


def test_what_only_our_own_server_says() -> None:
    row = {"id": "m", "owned_by": "llava", "max_model_len": 4096}
    row |= {"picture_tokens": 576, "tiles": False, "template": "llava_v1", "slots": 6}
    with having({"data": [row]}) as server:
        card = opened(server).card
    with having({"data": [{**row, "owned_by": "somebody"}]}) as server:
        assert opened(server).card.picture_tokens is None
    assert (card.picture_tokens, card.template, card.slots) == (576, "llava_v1", 6)


# Keys


def key_for(url: str, file: str | None = None, **environment: str) -> dict[str, str]:
    return find_key(Address.parse(url), file, environment).header()


def test_whose_key_goes_where() -> None:
    assert key_for("http://gpu1:8000") == {}
    assert key_for("http://gpu1:8000", LLAVA_ENGINE_KEY="a") == {"Authorization": "Bearer a"}
    openai = "https://api.openai.com/v1"
    assert key_for(openai, OPENAI_API_KEY="b") == {"Authorization": "Bearer b"}
    assert key_for(openai, OPENAI_API_KEY="b", LLAVA_ENGINE_KEY="a") == {"Authorization": "Bearer a"}
    for other in (
        "http://api.openai.com/v1",
        "https://api.openai.com.evil.example/v1",
        "https://evil.example/api.openai.com/v1",
        "https://openai.com/v1",
    ):
        assert key_for(other, OPENAI_API_KEY="b") == {}


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"two\nlines", b"\xff\xfe", b"k\x00", b"k" * 20_000])
def test_a_file_that_holds_no_key_is_refused_and_not_quoted(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(UsageError) as raised:
        key_for("http://gpu1", str(file))
    assert "--engine-key-file" in raised.value.cause
    assert "two" not in str(raised.value) and "kkk" not in str(raised.value)
    with pytest.raises(UsageError):
        key_for("http://gpu1", str(tmp_path / "gone"))


def test_a_key_has_no_face() -> None:
    key = Key("secret")
    assert "secret" not in f"{key} {key!r} {[key]}"
    assert not hasattr(key, "__dict__")
    with pytest.raises(TypeError):
        import copy

        copy.copy(key)


# Which options go together


@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({"engine": "http://x", "base": "b"}, "--base"),
        ({"engine": "http://x", "tower": "b"}, "--tower"),
        ({"engine": "http://x", "template": "v1"}, "--template"),
        ({"engine": "http://x", "force": True}, "--force"),
        ({"engine": ""}, "--engine"),
        ({"engine_key_file": "k"}, "--engine-key-file"),
        ({"engine": "http://x", "engine_key_file": " "}, "--engine-key-file"),
        ({"model": "http://x"}, "--engine"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(fields: dict[str, Any], flag: str) -> None:
    with pytest.raises(UsageError) as raised:
        EngineSource(**fields)
    assert flag in str(raised.value)


def test_where_another_machine_has_it_open_nothing_is_placed() -> None:
    with pytest.raises(UsageError, match="--quantize and --context do not go with --engine"):
        open_engine(EngineSource(engine="http://127.0.0.1:1"), Placement(quantize="int8", context=10))
