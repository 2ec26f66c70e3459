"""Engines that let one wait, that can not say everything, that are busy or away: what the session makes of them."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from llava_engine.contract import LoadProgress, Progress
from llava_engine.errors import BusyError, EngineAwayError, ModelError
from llava_tui.session.events import ModelReady, Notice
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine, fake_loader
from tests.llava_tui.session.desk import Make, ready

FAR = replace(
    FAKE_CARD,
    folder=None,
    where="far:8000",
    context_length=None,
    picture_tokens=None,
    parameters=None,
    memory_bytes=None,
    cannot=frozenset({"count", "ids"}),
)


def test_how_far_an_answer_is_is_told_once_it_takes_a_while(make: Make) -> None:
    now = [0.0]
    queue, prompt, words = Progress("waiting", 2, 3), Progress("reading", 512, 2300), threading.Event()
    shown = threading.Event()
    desk = ready(make((queue, shown, prompt, words, "Yes.", threading.Event()), clock=lambda: now[0]))
    session = desk.session
    session.send("What is it?")
    desk.until(lambda: session.phase == "answering")
    for _ in range(20):
        session.poll()
        assert session.facts.answer_progress is None
    now[0] = 0.5
    desk.until(lambda: session.facts.answer_progress == queue)
    shown.set()
    desk.until(lambda: session.facts.answer_progress == prompt)
    words.set()
    desk.until(lambda: desk.said == "Yes.")
    assert session.facts.answer_progress is None


def test_the_first_progress_brings_the_count(make: Make) -> None:
    gate = threading.Event()
    engine = FakeEngine((gate, "Yes."))
    desk = ready(make(engine=engine))
    desk.session.send("What is it now?")
    desk.until(lambda: desk.session.facts.context_used == 4)
    gate.set()
    desk.settle()
    assert len(engine.conversations) == 1 and desk.session.facts.context_used == 5


def test_where_nobody_can_count_the_last_usage_is_shown(make: Make) -> None:
    gate = threading.Event()
    first = threading.Event()
    away = EngineAwayError("far:8000 can not be reached.")
    engine = FakeEngine((first, "It is ", "red."), (gate, "A ", "cat."), (away,), card=FAR, usage=40)
    desk = ready(make(engine=engine))
    assert desk.session.facts.context_used in (None, 0)
    desk.session.send("What is it?")
    desk.until(lambda: desk.session.phase == "answering")
    assert desk.session.facts.context_used is None
    first.set()
    desk.settle()
    assert desk.session.facts.context_used == 42
    assert desk.session.facts.context_total is None
    desk.session.send("And now?")
    desk.until(lambda: desk.session.phase == "answering")
    assert desk.session.facts.context_used == 42
    gate.set()
    desk.settle()
    chat = desk.session.chat
    assert chat is not None
    desk.session.new_chat()
    desk.settle()
    assert desk.session.facts.context_used in (None, 0)
    desk.session.open_chat(chat.id)
    desk.settle()
    assert desk.session.facts.context_used == 42
    desk.ask("And now?")
    assert desk.session.page()[-1].status == "interrupted" and desk.session.facts.context_used == 42


@pytest.mark.parametrize(
    "error", [EngineAwayError("far:8000 can not be reached.", "Is it running?"), BusyError("far:8000 is busy.", 5)]
)
def test_a_question_to_an_engine_that_is_away_or_busy_is_kept(make: Make, error: Exception) -> None:
    engine = FakeEngine((error,), ("It is ", error), ("It is red.",), card=FAR)
    desk = ready(make(engine=engine))
    desk.ask("What is it?", "cat.png")
    (notice,) = desk.of(Notice)
    assert notice.cause in str(error) and notice.remedy
    assert [(turn.text, turn.status) for turn in desk.session.page()] == [
        ("What is it?", "complete"),
        ("", "interrupted"),
    ]
    assert desk.session.page()[-1].error == notice.cause
    desk.session.regenerate()
    desk.settle()
    assert (desk.session.page()[-1].text, desk.session.page()[-1].status) == ("It is ", "interrupted")
    desk.session.regenerate()
    desk.settle()
    answer = desk.session.page()[-1]
    assert (answer.text, answer.status, answer.versions) == ("It is red.", "complete", 3)
    assert [[m.text for m in asked.messages] for asked in engine.conversations] == [["What is it?"]] * 3
    assert all(len(asked.pictures) == 1 for asked in engine.conversations)


def test_a_message_after_one_that_was_not_answered_goes_with_it(make: Make) -> None:
    engine = FakeEngine((EngineAwayError("far:8000 can not be reached."),), ("Yes.",), card=FAR)
    desk = ready(make(engine=engine))
    desk.ask("Is it a cat?")
    desk.ask("Are you there?")
    assert [m.text for m in engine.conversations[-1].messages] == ["Is it a cat?\n\nAre you there?"]


def test_an_engine_is_closed_when_another_takes_its_place_and_at_the_end(make: Make) -> None:
    first, unwanted, late, second = FakeEngine(), FakeEngine(), FakeEngine(), FakeEngine()
    desk = ready(make(engine=first))
    gate, came = threading.Event(), threading.Event()
    desk.session.load(fake_loader(unwanted, gate))
    gate.set()
    desk.session.load(lambda on_progress: came.set() or late)  # type: ignore[func-returns-value]
    assert came.wait(20)  # loaded, and nobody has looked yet
    desk.session.load(fake_loader(second, LoadProgress("weights", 1, 2)))
    desk.settle()
    desk.until(lambda: first.closed and unwanted.closed and late.closed)
    assert not second.closed and [event.card for event in desk.of(ModelReady)] == [second.card]
    desk.session.close()
    assert second.closed


def test_what_went_wrong_with_a_model_that_nobody_waits_for_is_not_told(make: Make) -> None:
    desk = ready(make(("Yes.",)))
    failed, gate = threading.Event(), threading.Event()

    def broken(on_progress: object) -> FakeEngine:
        failed.set()
        raise ModelError("There is no folder x.")

    desk.session.load(broken)
    assert failed.wait(20)
    desk.session.load(fake_loader(FakeEngine(("No.",)), gate))
    for _ in range(20):
        desk.events += desk.session.poll()
    assert desk.session.phase == "loading" and not desk.of(Notice)
    gate.set()
    desk.settle()
    desk.ask("Is it?")
    assert desk.shown == ["Is it?", "No."]
