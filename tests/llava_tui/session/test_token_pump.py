"""Text comes over in batches, whole and in order; what ends it is told; nothing hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava_engine.contract import Reply
from llava_engine.conversation.conversation import Conversation, Message
from llava_tui.session.engine_thread import EngineThread
from llava_tui.session.token_pump import Taken, TokenPump
from tests.fakes.fake_engine import FakeEngine, Step

QUESTION = Conversation((Message.user("Is there a cat?"),))


@pytest.fixture
def engine_thread() -> Iterator[EngineThread]:
    failures: list[BaseException] = []
    thread = EngineThread(failures.append)
    yield thread
    assert thread.close(5)
    assert failures == []


def pump_of(thread: EngineThread, *script: Step, clock: Callable[[], float] = time.monotonic) -> TokenPump:
    engine = FakeEngine(script)
    return TokenPump(lambda cancelled: engine.stream(QUESTION, cancelled=cancelled), thread.submit, clock)


def take_until(pump: TokenPump, enough: Callable[[str, Taken], bool]) -> tuple[str, Taken]:
    text, deadline = "", time.monotonic() + 20
    while time.monotonic() < deadline:
        batch = pump.take()
        text += batch.text
        if enough(text, batch):
            return text, batch
        time.sleep(0.001)
    raise AssertionError(f"nothing came of it: {text!r}")


def take_all(pump: TokenPump) -> tuple[str, Taken]:
    return take_until(pump, lambda _, batch: batch.done)


def test_everything_arrives_and_then_the_reply(engine_thread: EngineThread) -> None:
    text, last = take_all(pump_of(engine_thread, "A ", "red ", "circle", "."))
    assert text == "A red circle."
    assert last.error is None
    assert last.reply is not None
    assert last.reply.text == "A red circle."
    assert last.reply.completion_tokens == 4


@given(pieces=st.lists(st.text(max_size=5), max_size=40))
def test_no_piece_is_lost_however_the_taker_and_the_engine_interleave(pieces: list[str]) -> None:
    thread = EngineThread(lambda error: None)
    text, _ = take_all(pump_of(thread, *pieces))
    assert text == "".join(pieces)
    assert thread.close(5)


def test_what_comes_after_the_last_look_is_flushed_with_the_end(engine_thread: EngineThread) -> None:
    gate = threading.Event()
    pump = pump_of(engine_thread, "one ", gate, "two ", "three")
    take_until(pump, lambda text, _: text == "one ")
    gate.set()
    finished = threading.Event()
    engine_thread.submit(finished.set)
    assert finished.wait(5)
    batch = pump.take()
    assert (batch.text, batch.done) == ("two three", True)


def test_after_the_end_there_is_only_the_end(engine_thread: EngineThread) -> None:
    pump = pump_of(engine_thread, "yes")
    take_all(pump)
    assert pump.take() == Taken("", done=True)


def test_cancel_ends_it_within_one_token_and_keeps_what_was_said(engine_thread: EngineThread) -> None:
    pump = pump_of(engine_thread, "one ", "two ", threading.Event(), "never")
    take_until(pump, lambda text, _: text == "one two ")
    pump.cancel()
    text, last = take_all(pump)
    assert text == ""
    assert last.reply is not None
    assert (last.reply.text, last.reply.finish_reason) == ("one two ", "cancelled")


def test_one_cancelled_before_its_turn_never_reaches_the_engine(engine_thread: EngineThread) -> None:
    gate = threading.Event()

    def earlier_job() -> None:
        gate.wait(5)

    engine_thread.submit(earlier_job)
    engine = FakeEngine(("no",))
    pump = TokenPump(lambda cancelled: engine.stream(QUESTION, cancelled=cancelled), engine_thread.submit)
    pump.cancel()
    gate.set()
    assert take_all(pump) == ("", Taken("", done=True))
    assert engine.conversations == []


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), SystemExit(3), MemoryError()])
def test_whatever_the_engine_raises_arrives_after_what_it_said(
    engine_thread: EngineThread, error: BaseException
) -> None:
    text, last = take_all(pump_of(engine_thread, "so ", "far", error))
    assert text == "so far"
    assert last.error is error
    assert last.reply is None


def test_a_stream_without_a_reply_is_an_error_not_silence(engine_thread: EngineThread) -> None:
    def stream(cancelled: Callable[[], bool]) -> Iterator[str | Reply]:
        yield "text"

    _, last = take_all(TokenPump(stream, engine_thread.submit))
    assert isinstance(last.error, RuntimeError)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_of_the_last_two_seconds() -> None:
    clock = Clock()
    jobs: list[Callable[[], None]] = []

    def stream(cancelled: Callable[[], bool]) -> Iterator[str | Reply]:
        clock.now = 101.5  # the prompt took 1.5 s
        for _ in range(11):
            yield "x"
            clock.now += 0.1
        clock.now -= 0.1  # the eleventh came 1.0 s after the first
        yield from FakeEngine(()).stream(QUESTION)

    pump = TokenPump(stream, jobs.append, clock)
    assert pump.pieces_per_second is None
    assert pump.time_to_first_piece_s is None
    jobs[0]()
    pump.take()
    assert pump.pieces == 11
    assert pump.time_to_first_piece_s == pytest.approx(1.5)
    assert pump.pieces_per_second == pytest.approx(10.0)  # ten intervals in one second
    clock.now = 104.0  # six of them (102.0 … 102.5) are within the last two seconds
    assert pump.pieces_per_second == pytest.approx(6 / 2, abs=0.51)  # a piece on the edge may fall either way
    clock.now = 110.0
    assert pump.pieces_per_second == 0.0


def test_a_bad_job_is_reported_and_the_thread_goes_on() -> None:
    failures: list[BaseException] = []
    thread = EngineThread(failures.append)
    error = ValueError("bad job")

    def fail() -> None:
        raise error

    done = threading.Event()
    thread.submit(fail)
    thread.submit(done.set)
    assert done.wait(5)
    assert failures == [error]
    assert thread.close(5)
