"""What a prompt costs, as far as a server tells; and that its key goes to it and is shown nowhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llava_engine.contract import Progress, Reply, TokenCount
from llava_engine.conversation.conversation import Message
from llava_engine.errors import (
    EngineAwayError,
)
from tests.fakes.far_server import FarServer, Said, problem
from tests.fakes.recorded_streams import PROMPT_TOKENS, RECORDED, TEXT
from tests.llava_engine.backends.remote.asking import ASKED, KEY, opened, text_of

OURS, VLLM, OLLAMA, OTHER = (RECORDED[kind] for kind in ("llava", "vllm", "ollama", "openai"))


def test_a_server_that_counts_is_asked() -> None:
    with FarServer(OURS) as server:
        engine = opened(server)
        assert engine.count(ASKED) == TokenCount(PROMPT_TOKENS, ())
        sent = server.requests[-1]
    assert sent.path == "/v1/chat/completions/input_tokens"
    assert set(sent.body) == {"model", "messages"}


def test_one_that_does_not_is_asked_once_and_its_last_answer_tells() -> None:
    with FarServer(OTHER) as server:
        engine = opened(server)
        assert engine.count(ASKED) is None
        assert "count" in engine.card.cannot
        *_, reply = engine.stream(ASKED)
        assert isinstance(reply, Reply)
        assert engine.count(ASKED) == TokenCount(PROMPT_TOKENS, ())
        after = ASKED.then(Message.assistant(reply.text))
        assert engine.count(after) == TokenCount(PROMPT_TOKENS + reply.completion_tokens, ())
        assert engine.count(after.then(Message.user("And?"))) is None
        assert sum(one.path.endswith("input_tokens") for one in server.requests) == 1
        progress = next(iter(engine.stream(ASKED)))
        assert isinstance(progress, Progress) and progress.count == TokenCount(PROMPT_TOKENS, ())


def test_no_count_is_no_error() -> None:
    for said in (problem(500, b"x"), problem(200, b"no json"), problem(200, {"input_tokens": "many"})):
        with FarServer(OURS, places={"/v1/chat/completions/input_tokens": said}) as server:
            assert opened(server).count(ASKED) is None


def test_a_server_that_is_gone_counts_nothing_and_says_so_when_asked() -> None:
    with FarServer(OURS) as server:
        engine = opened(server)
    assert engine.count(ASKED) is None
    with pytest.raises(EngineAwayError, match="can not be reached"):
        text_of(engine)


def test_the_key_goes_with_every_request_and_is_shown_nowhere(tmp_path: Any) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    with FarServer(OURS) as server:
        engine = opened(server, key_file=str(file), environment={"LLAVA_ENGINE_KEY": "another"})
        text_of(engine)
        engine.count(ASKED)
        assert {one.headers["authorization"] for one in server.requests} == {f"Bearer {KEY}"}
        assert KEY not in json.dumps([one.body for one in server.requests])
    shown = [repr(engine), repr(engine.card), repr(vars(engine)), repr(vars(engine._server)), repr(engine._server.key)]
    assert not any(KEY in text for text in shown)


def test_an_error_object_in_the_stream_that_quotes_the_key_is_shown_without_it() -> None:
    stream = b'data: {"error":{"message":"bad key ' + KEY.encode() + b'"}}\n\n'
    with FarServer(OURS, Said([stream])) as server:
        engine = opened(server, environment={"LLAVA_ENGINE_KEY": KEY})
        with pytest.raises(EngineAwayError) as raised:
            text_of(engine)
    assert KEY not in str(raised.value)
    assert "bad key …" in raised.value.cause


def test_a_redirect_is_not_followed() -> None:
    with FarServer(OURS) as other, FarServer(OURS, problem(302, b"", ("Location", other.url))) as server:
        engine = opened(server, environment={"LLAVA_ENGINE_KEY": KEY})
        with pytest.raises(EngineAwayError, match="redirects"):
            text_of(engine)
        assert other.requests == []


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with FarServer(OURS) as proxy, FarServer(OURS) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert text_of(opened(server)) == TEXT
        assert proxy.requests == []
