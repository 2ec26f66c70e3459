"""How an answer from elsewhere ends: cancelled, dropped, closed, silent; nobody else is held up."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from llava_engine.backends.remote import engine as remote
from llava_engine.contract import Reply
from llava_engine.errors import (
    EngineAwayError,
    LlavaError,
)
from tests.fakes.far_server import PATIENCE_S, FarServer, Said
from tests.fakes.recorded_streams import RECORDED, TEXT
from tests.llava_engine.backends.remote.asking import ASKED, opened, text_of, within_patience

OURS, VLLM, OLLAMA, OTHER = (RECORDED[kind] for kind in ("llava", "vllm", "ollama", "openai"))


def test_cancelling_closes_the_connection_and_keeps_what_was_said() -> None:
    forever = threading.Event()
    with FarServer(OURS, Said([OURS.stream[:900], forever])) as server:
        engine = opened(server)
        said: list[str] = []
        asked = [False]

        def read() -> Reply:
            for item in engine.stream(ASKED, cancelled=lambda: asked[0]):
                if isinstance(item, str):
                    said.append(item)
                    asked[0] = True
                elif isinstance(item, Reply):
                    return item
            raise AssertionError("no reply")

        [reply] = within_patience(read)
        assert server.left.wait(PATIENCE_S)
    assert reply.finish_reason == "cancelled"
    assert reply.text == "".join(said) and said


@pytest.mark.parametrize("before", [b"", b": waiting\n\n"], ids=["no word", "only comments"])
def test_cancelling_an_endless_silence_is_heard_at_once(before: bytes) -> None:
    forever = threading.Event()
    with FarServer(OURS, Said([before, forever])) as server:
        engine = opened(server)
        asked = time.monotonic() + 0.2
        [items] = within_patience(lambda: list(engine.stream(ASKED, cancelled=lambda: time.monotonic() > asked)))
        assert server.left.wait(PATIENCE_S)
    assert items[-1].finish_reason == "cancelled"
    assert items[-1].text == ""


def test_a_reader_that_goes_away_closes_the_connection() -> None:
    forever = threading.Event()
    with FarServer(OURS, Said([OURS.stream[:900], forever])) as server:
        answer = opened(server).stream(ASKED)
        assert any(isinstance(item, str) for item in answer)
        answer.close()  # type: ignore[attr-defined]
        assert server.left.wait(PATIENCE_S)


def test_closing_the_engine_ends_a_running_answer() -> None:
    forever = threading.Event()
    with FarServer(OURS, Said([OURS.stream[:900], forever])) as server:
        engine = opened(server)
        began = threading.Event()

        def read() -> list[Any]:
            items = []
            for item in engine.stream(ASKED):
                items.append(item)
                if isinstance(item, str):
                    began.set()
            return items

        closing = threading.Thread(target=lambda: (began.wait(PATIENCE_S), engine.close(), engine.close()))
        closing.start()
        [items] = within_patience(read)
        closing.join()
        assert server.left.wait(PATIENCE_S)
    assert isinstance(items, LlavaError) or items[-1].finish_reason == "cancelled"


def test_several_answers_at_once_and_one_that_nobody_reads_on_holds_up_none() -> None:
    forever = threading.Event()
    with FarServer(OURS, Said([OURS.stream[:900], forever]), Said([OURS.stream])) as server:
        engine = opened(server)
        first = engine.stream(ASKED)
        assert any(isinstance(item, str) for item in first)
        assert within_patience(lambda: text_of(engine)) == [TEXT]
        forever.set()


def test_silence_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llava_engine.backends.remote.server.SILENCE_S", 0.3)
    monkeypatch.setattr(remote.Server.send, "__kwdefaults__", {"silence_s": 0.3})
    forever = threading.Event()
    with FarServer(OURS, Said([OURS.stream[:900], forever])) as server:
        engine = opened(server)
        [error] = within_patience(lambda: text_of(engine))
    assert isinstance(error, EngineAwayError) and "said nothing" in error.cause
