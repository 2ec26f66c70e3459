"""What a server says in place of an answer: busy, too long, a field that it does not take, anything at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from llava_engine.backends.remote import engine as remote
from llava_engine.contract import Progress, Sampling
from llava_engine.errors import (
    BusyError,
    ContextOverflowError,
    ConversationError,
    EngineAwayError,
)
from tests.fakes.far_server import FarServer, Said, problem
from tests.fakes.recorded_streams import RECORDED, TEXT
from tests.llava_engine.backends.remote.asking import ASKED, KEY, opened, text_of, within_patience

OURS, VLLM, OLLAMA, OTHER = (RECORDED[kind] for kind in ("llava", "vllm", "ollama", "openai"))
PAUSE = remote._pause


@pytest.fixture(autouse=True)
def quick_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What it would wait for a busy server, instead of waiting."""
    waited: list[float] = []

    def pause(seconds: float, cancelled: Any) -> Iterator[Progress]:
        waited.append(seconds)
        yield Progress("waiting", 0, 0)
        return True

    monkeypatch.setattr(remote, "_pause", pause)
    return waited


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(status: int, quick_waits: list[float]) -> None:
    busy = problem(status, {"error": {"message": "queue full"}}, ("Retry-After", "7"))
    with FarServer(OURS, busy, busy, busy, Said([OURS.stream])) as server:
        assert text_of(opened(server)) == TEXT
    assert quick_waits == [7, 7, 7]


def test_waiting_for_a_busy_server_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_pause", PAUSE)
    with FarServer(OURS, problem(429, {"error": "full"}, ("Retry-After", "50"))) as server:
        engine = opened(server)
        asked = time.monotonic() + 0.2
        [items] = within_patience(lambda: list(engine.stream(ASKED, cancelled=lambda: time.monotonic() > asked)))
    assert items[-1].finish_reason == "cancelled"
    assert Progress("waiting", 0, 0) in items


def test_a_server_that_stays_busy_is_told_of(quick_waits: list[float]) -> None:
    with FarServer(OURS, problem(503, {"error": {"message": "Loading model"}})) as server:
        engine = opened(server)
        with pytest.raises(BusyError, match="Loading model"):
            text_of(engine)
        assert len(server.questions) == 4
    assert quick_waits == [1, 2, 4]


@pytest.mark.parametrize("value", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
def test_nobody_waits_for_an_hour(value: str, quick_waits: list[float]) -> None:
    with FarServer(OURS, problem(429, {"error": {"message": "later"}}, ("Retry-After", value))) as server:
        engine = opened(server)
        with pytest.raises(BusyError) as raised:
            text_of(engine)
    assert raised.value.retry_after_s >= 3600
    assert quick_waits == []


def test_no_money_is_not_busy() -> None:
    error = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    with FarServer(OURS, problem(429, error)) as server:
        engine = opened(server)
        with pytest.raises(EngineAwayError, match="quota"):
            text_of(engine)


@pytest.mark.parametrize(
    "said",
    [
        problem(400, {"error": {"message": "bad \x1b[31mthing\n\nhere", "type": "invalid_request_error"}}),
        problem(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}),
        problem(403, {"detail": "Forbidden"}),
        problem(404, {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}),
        problem(404, b"<html>404 page</html>", kind="text/html"),
        problem(413, b"too large", kind="text/plain"),
        problem(422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}),
        problem(500, b"Internal Server Error", kind="text/plain"),
        problem(500, {"error": "llama runner process has terminated"}),
        problem(502, b"<html><h1>Bad Gateway</h1></html>", kind="text/html"),
        problem(307, b"", ("Location", f"http://evil.example/v1?key={KEY}")),
        problem(400, b"{broken"),
        problem(400, b"[" * 100_000),
        problem(400, {"error": {"message": "x" * 100_000}}),
        problem(200, b"<html>sign in</html>", kind="text/html"),
    ],
    ids=lambda said: str(said.status),
)
def test_whatever_it_refuses_is_one_line_without_the_key(said: Said) -> None:
    with FarServer(OURS, said) as server:
        engine = opened(server, environment={"LLAVA_ENGINE_KEY": KEY})
        with pytest.raises(EngineAwayError) as raised:
            text_of(engine)
        assert len(server.questions) == 1
    for line in (raised.value.cause, raised.value.remedy):
        assert "\n" not in line and "\x1b" not in line and len(line) <= 500
        assert KEY not in line
    assert server.where in raised.value.cause


@pytest.mark.parametrize(
    ("error", "tokens", "limit"),
    [
        (  # vLLM
            {
                "message": "This model's maximum context length is 4096 tokens. However, you requested 5004 tokens "
                "(4748 in the messages, 256 in the completion).",
                "type": "BadRequestError",
                "code": 400,
            },
            4097,
            4096,
        ),
        (  # llama-server
            {
                "code": 400,
                "message": "request (3021 tokens) exceeds the available context size (2048 tokens), try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 3021,
                "n_ctx": 2048,
            },
            3021,
            2048,
        ),
        ({"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}, 4097, 4096),
    ],
    ids=["vLLM", "llama-server", "ours and OpenAI"],
)
def test_too_long_is_what_it_is_here(error: dict[str, Any], tokens: int, limit: int) -> None:
    with FarServer(VLLM, problem(400, {"error": error})) as server:
        engine = opened(server)
        with pytest.raises(ContextOverflowError) as raised:
            text_of(engine)
        # Some count the room that was asked for: asked once more without it.
        assert ["max_tokens" in one.body for one in server.questions] == [True, False]
    assert (raised.value.tokens, raised.value.limit) == (tokens, limit)


def test_where_the_prompt_fits_and_the_room_does_not_it_is_answered() -> None:
    error = {"message": "maximum context length is 4096 tokens. However, you requested 4100", "code": 400}
    with FarServer(VLLM, problem(400, {"error": error}), Said([VLLM.stream])) as server:
        assert text_of(opened(server)) == TEXT


@pytest.mark.parametrize(
    ("refusal", "gone", "instead"),
    [
        (
            {
                "message": "Unsupported parameter: 'max_tokens' is not supported with this model.",
                "param": "max_tokens",
                "code": "unsupported_parameter",
            },
            "max_tokens",
            "max_completion_tokens",
        ),
        ({"message": "Unknown parameter: 'stream_options'.", "param": "stream_options"}, "stream_options", "stream"),
        (
            {"message": "Unsupported value: 'temperature' does not support 0", "param": "temperature"},
            "temperature",
            "model",
        ),
    ],
    ids=["max_tokens", "stream_options", "temperature"],
)
def test_a_field_that_nobody_misses_is_left_away_from_then_on(refusal: Any, gone: str, instead: str) -> None:
    with FarServer(OTHER, problem(400, {"error": refusal}), Said([OTHER.stream])) as server:
        engine = opened(server)
        assert text_of(engine) == text_of(engine) == TEXT
        bodies = [one.body for one in server.questions]
    assert [gone in body for body in bodies] == [True, False, False]
    assert instead in bodies[1]


@pytest.mark.parametrize(
    "refusal",
    [
        {"error": {"message": "Unrecognized request argument supplied: top_k", "type": "invalid_request_error"}},
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}]},
    ],
    ids=["OpenAI", "FastAPI"],
)
def test_a_field_that_was_asked_for_and_is_refused_becomes_something_it_can_not(refusal: Any) -> None:
    with FarServer(OTHER, problem(400, refusal)) as server:
        engine = opened(server)
        assert "top_k" not in engine.card.cannot
        for _ in range(2):
            with pytest.raises(ConversationError):
                text_of(engine, sampling=Sampling(temperature=1, top_k=5))
        assert "top_k" in engine.card.cannot
        assert len(server.questions) == 1  # the second time it is known


def test_what_it_is_known_to_ignore_is_not_asked_of_it() -> None:
    with FarServer(OLLAMA) as server:
        engine = opened(server)
        for sampling in (Sampling(top_k=5), Sampling(repetition_penalty=1.1)):
            with pytest.raises(ConversationError):
                text_of(engine, sampling=sampling)
        assert server.questions == []
