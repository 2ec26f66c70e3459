"""Answers of every kind of server, whole, in tiny pieces, and cut at every byte: nothing is lost, nothing hangs."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava_engine.backends.remote.address import Address
from llava_engine.backends.remote.discovery import Found, Listed
from llava_engine.backends.remote.engine import RemoteEngine
from llava_engine.backends.remote.key import Key
from llava_engine.backends.remote.server import Head, Server
from llava_engine.contract import Progress, Reply
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import EngineAwayError, LlavaError
from llava_engine.terminal_safe import SafeText
from tests.fakes.far_server import PATIENCE_S, FarServer, Said
from tests.fakes.recorded_streams import (
    CACHED_TOKENS,
    COMPLETION_TOKENS,
    PROMPT_TOKENS,
    RECORDED,
    TEXT,
    Recorded,
)

ASKED = Conversation((Message.user("What is in the picture?"),))
EVERY = pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)


class Wire(Server):
    """A server whose answers come from memory, in these pieces; `broken` ends them as a lost connection does."""

    def __init__(self, pieces: Sequence[bytes], *, broken: bool = False, kind: str = "text/event-stream") -> None:
        self.address, self.key = Address.parse("http://gpu1:8000"), Key()
        self._pieces = pieces
        self._broken = broken
        self._kind = kind

    def send(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, *, silence_s: float = 0
    ) -> Generator[Head | bytes | None]:
        yield None
        yield Head(200, {"content-type": self._kind})
        yield from self._pieces
        if self._broken:
            raise EngineAwayError("gpu1:8000 broke off before the answer was complete.")


def answered(wire: Server) -> tuple[str, Reply | None, LlavaError | None]:
    """All pieces together, and the reply or what was raised in its place."""
    engine = RemoteEngine(wire, Found("http://gpu1:8000/v1", "", Listed("m", SafeText("m")), 1))
    text, reply = "", None
    try:
        for item in engine.stream(ASKED):
            if isinstance(item, Reply):
                reply = item
            elif not isinstance(item, Progress):
                assert item
                text += item
    except LlavaError as error:
        return text, None, error
    return text, reply, None


def data(*chunks: Any) -> list[bytes]:
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]


def chunk(text: str | None = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    content = {} if text is None else {"content": text}
    return {"choices": [{"index": 0, "delta": {**content, **delta}, "finish_reason": finish}]}


@EVERY
def test_a_whole_answer_over_a_connection(recorded: Recorded) -> None:
    with FarServer(recorded) as server:
        engine = RemoteEngine.open(server.url, environment={})
        *before, reply = engine.stream(ASKED)
        engine.close()
    assert isinstance(reply, Reply)
    assert "".join(item for item in before if isinstance(item, str)) == reply.text == TEXT
    assert reply.finish_reason == recorded.finish_reason
    assert isinstance(before[0], Progress)
    if recorded.usage:
        assert (reply.prompt_tokens, reply.completion_tokens) == (PROMPT_TOKENS, COMPLETION_TOKENS)
        assert reply.cached_tokens in (CACHED_TOKENS, 0)
    assert engine.card.name == recorded.model
    assert engine.card.context_length == recorded.context_length
    assert (engine.card.where, engine.card.folder, engine.card.parameters) == (server.where, None, None)


@EVERY
@pytest.mark.parametrize("broken", [True, False], ids=["connection lost", "ended"])
def test_cut_at_every_byte_nothing_that_was_said_is_lost(recorded: Recorded, broken: bool) -> None:
    stream = recorded.stream
    for size in range(len(stream)):
        text, reply, error = answered(Wire([stream[:size]], broken=broken))
        assert text == recorded.said_by(size), size
        if recorded.complete_at(size):
            assert reply is not None and reply.text == text == TEXT, size
            assert reply.finish_reason == recorded.finish_reason
        else:
            assert isinstance(error, EngineAwayError) and "broke off" in error.cause, size


@EVERY
def test_in_single_bytes_and_in_two_parts_at_every_byte(recorded: Recorded) -> None:
    stream = recorded.stream
    whole = answered(Wire([stream]))[1]
    assert whole is not None and whole.text == TEXT
    for pieces in (
        [stream[i : i + 1] for i in range(len(stream))],
        *([stream[:i], stream[i:]] for i in range(len(stream))),
    ):
        text, reply, _ = answered(Wire(pieces))
        assert text == TEXT
        assert reply is not None
        assert reply.finish_reason == whole.finish_reason
        assert (reply.prompt_tokens, reply.completion_tokens) == (whole.prompt_tokens, whole.completion_tokens)


@EVERY
@pytest.mark.parametrize("end", [b"\r\n", b"\r"], ids=["CRLF", "CR"])
def test_every_line_end_is_one(recorded: Recorded, end: bytes) -> None:
    stream = recorded.stream.replace(b"\r\n", b"\n").replace(b"\n", end)
    for size in (1, 2, 7, len(stream)):
        pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert answered(Wire(pieces))[0] == TEXT


@EVERY
@pytest.mark.parametrize("cut", [True, False], ids=["connection lost", "ended"])
def test_cut_connections_end_at_once(recorded: Recorded, cut: bool) -> None:
    stream = recorded.stream
    sizes = range(0, len(stream), len(stream) // 6)
    said = [Said([stream[:size]], cut=cut) for size in sizes]
    with FarServer(recorded, *said) as server:
        engine = RemoteEngine.open(server.url, environment={})
        for size in sizes:
            found: list[str] = []

            def read(found: list[str] = found) -> None:
                found.extend(item for item in engine.stream(ASKED) if isinstance(item, str))

            thread = threading.Thread(target=_quietly, args=(read,), daemon=True)
            thread.start()
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
            assert "".join(found) == recorded.said_by(size)
        engine.close()


def _quietly(act: Any) -> None:
    try:
        act()
    except EngineAwayError:
        return


@pytest.mark.parametrize(
    ("events", "text", "finish"),
    [
        ([chunk("Yes"), chunk(finish="stop")], "Yes", "stop"),
        ([chunk(None, role="assistant"), chunk("Yes", role="assistant"), chunk("", "stop")], "Yes", "stop"),
        ([chunk(content=None, role="assistant"), chunk("Yes"), chunk(None, "length")], "Yes", "length"),
        ([chunk(None, reasoning_content="Hm."), chunk(None, reasoning="So."), chunk("Yes", "stop")], "Yes", "stop"),
        ([chunk("Yes"), {"choices": [{"index": 0, "delta": None, "finish_reason": "eos"}]}], "Yes", "stop"),
        ([{"choices": [], "prompt_filter_results": [], "object": "x"}, chunk("Yes", "stop")], "Yes", "stop"),
        ([chunk("Yes"), chunk(None, "tool_calls", tool_calls=[{"index": 0}])], "Yes", "stop"),
        ([chunk(None, refusal="No."), chunk(None, "stop")], "No.", "stop"),
        ([chunk("\ud83e"), chunk("\udd99"), chunk(None, "stop")], "🦙", "stop"),
        ([chunk("a\ud83e"), chunk("b", "stop")], "a\ufffdb", "stop"),
        ([{"choices": [{"index": 1, "delta": {"content": "no"}}]}, chunk("Yes", "stop")], "Yes", "stop"),
        ([chunk(content=[{"type": "text", "text": "Yes"}]), chunk(None, "stop")], "Yes", "stop"),
    ],
)
def test_forms_that_a_chunk_may_have(events: list[Any], text: str, finish: str) -> None:
    said, reply, error = answered(Wire(data(*events)))
    assert error is None
    assert reply is not None
    assert (said, reply.text, reply.finish_reason) == (text, text, finish)


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ([{"error": {"message": "CUDA \x1b[31mout of memory", "type": "server_error"}}], "CUDA out of memory"),
        ([{"error": "model runner has stopped"}], "model runner has stopped"),
        ([{"object": "error", "message": "too hot", "code": 500}], "too hot"),
        ([chunk(None, "content_filter")], "content filter"),
        ([chunk(None, "abort")], "abort"),
        ([{"choices": "none"}], "no answer"),
        ([["list"]], "no answer"),
    ],
)
def test_what_goes_wrong_in_the_middle_is_one_line_after_what_was_said(events: list[Any], cause: str) -> None:
    said, reply, error = answered(Wire(data(chunk("So far"), *events)))
    assert said == "So far"
    assert reply is None
    assert isinstance(error, EngineAwayError)
    assert cause in error.cause
    assert "\n" not in error.cause and "\x1b" not in error.cause


@pytest.mark.parametrize(
    "line",
    [
        b'{"error":{"message":"out of memory","type":"api_error","param":null,"code":null}}\n',
        b'error: {"code":500,"message":"out of memory","type":"server_error"}\n\n',
        b'event: error\ndata: {"message":"out of memory"}\n\n',
        b'data: {"error":{"message":"out of memory","type":"x","code":500}}\n\ndata: [DONE]\n\n',
    ],
    ids=["Ollama", "older llama-server", "an event of that name", "vLLM"],
)
def test_an_error_object_in_each_server_s_form(line: bytes) -> None:
    said, _, error = answered(Wire([*data(chunk("So far")), line]))
    assert said == "So far"
    assert error is not None and "out of memory" in error.cause


def test_broken_json_ends_the_answer_with_what_was_said() -> None:
    said, _, error = answered(Wire([*data(chunk("So far")), b"data: {broken\n\n", *data(chunk("more", "stop"))]))
    assert said == "So far"
    assert error is not None and "no answer" in error.cause


def test_an_endless_line_is_given_up() -> None:
    said, _, error = answered(Wire([*data(chunk("So far")), b"data: ", *([b"x" * 65536] * 40)]))
    assert said == "So far"
    assert error is not None and "no answer" in error.cause


def test_an_endless_answer_is_cut_and_kept() -> None:
    said, reply, error = answered(Wire(data(chunk("y" * 500_000)) * 10))
    assert error is None
    assert reply is not None and reply.finish_reason == "length"
    assert 2_000_000 <= len(said) <= 2_500_000


def test_what_commands_a_terminal_does_not_come_through_even_in_two_pieces() -> None:
    said, reply, _ = answered(Wire(data(chunk("red\x1b]0;own"), chunk("ed\x07 circle\x1b[2"), chunk("J.", "stop"))))
    assert reply is not None
    assert said == reply.text == "red circle."


def test_a_server_that_does_not_stream_has_answered_all_the_same() -> None:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}]}
    said, reply, _ = answered(Wire([json.dumps(body).encode()], kind="application/json"))
    assert said == "Yes."
    assert reply is not None and reply.finish_reason == "stop"


def test_a_web_page_is_no_answer() -> None:
    _, _, error = answered(Wire([b"<html>"], kind="text/html"))
    assert isinstance(error, EngineAwayError) and "web page" in error.cause


def test_a_tool_is_not_called() -> None:
    _, _, error = answered(Wire(data(chunk(None, "tool_calls", tool_calls=[{"index": 0}]))))
    assert error is not None and "tool" in error.cause


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "index", "finish_reason", "usage", "error", "message", "text"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(anything, max_size=4))
def test_whatever_json_comes_it_is_an_answer_or_one_line(chunks: list[Any]) -> None:
    said, reply, error = answered(Wire(data(chunk("So far"), *chunks)))
    assert said.startswith("So far")
    assert (reply is None) != (error is None)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b"\r", b"{", b'"', b":", b"[DONE]"])))
def test_whatever_bytes_come_they_are_an_answer_or_one_line(pieces: list[bytes]) -> None:
    said, reply, error = answered(Wire([*data(chunk("So far")), *pieces]))
    assert said.startswith("So far")
    assert (reply is None) != (error is None)
