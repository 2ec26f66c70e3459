"""A chat as it goes on, seen from outside: what a person sends and stops, what comes of it, what is kept."""

from __future__ import annotations

import threading

import pytest

from llava_engine.contract import LoadProgress, Sampling
from llava_engine.pictures.opening import Picture
from llava_tui.session.attachments import Source
from llava_tui.session.events import (
    Attached,
    AttachFailed,
    Loading,
    ModelReady,
    Notice,
    PhaseChanged,
    TurnAdded,
    TurnFinished,
    Unsent,
)
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine, fake_loader
from tests.fakes.fake_picture import fake_picture
from tests.llava_tui.session.desk import Make, ready


def test_a_question_is_answered_and_kept(make: Make) -> None:
    engine = FakeEngine(("A ", "cat", "."))
    desk = ready(make(engine=engine, sampling=Sampling(temperature=0.5), system="Be brief."))
    desk.ask("What is it?", "cat.png")
    assert desk.shown == ["What is it?", "A cat."]
    assert desk.said == "A cat."
    question, answer = desk.session.page()
    assert [ref.name for ref in question.pictures] == ["cat.png"]
    assert [ref.tokens for ref in question.pictures] == [FAKE_CARD.picture_tokens]
    assert (answer.status, answer.stats and answer.stats.completion_tokens) == ("complete", 3)
    assert [event.turn.role for event in desk.of(TurnAdded)] == ["user", "assistant"]
    assert [event.turn for event in desk.of(TurnFinished)] == [answer]
    assert [event.phase for event in desk.of(PhaseChanged)] == ["answering", "idle"]
    (asked,) = engine.conversations
    assert asked.system == "Be brief."
    assert [(m.role, m.text, len(m.pictures)) for m in asked.messages] == [("user", "What is it?", 1)]
    assert engine.samplings == [Sampling(temperature=0.5)]


def test_the_next_question_goes_with_all_before_it(make: Make) -> None:
    engine = FakeEngine(("A cat.",), ("Black.",))
    desk = ready(make(engine=engine))
    desk.ask("What is it?", "cat.png")
    desk.ask("And its colour?")
    assert [m.text for m in engine.conversations[1].messages] == ["What is it?", "A cat.", "And its colour?"]
    assert len(engine.conversations[1].pictures) == 1


def test_the_engine_is_only_ever_called_on_one_thread_which_is_not_ours(make: Make) -> None:
    engine = FakeEngine(("yes",))
    desk = ready(make(engine=engine))
    desk.ask("one")
    desk.ask("two")
    assert len(engine.threads) == 1
    assert threading.get_ident() not in engine.threads


def test_a_picture_alone_may_be_sent_and_nothing_at_all_may_not(make: Make) -> None:
    desk = ready(make(("A cat.",)))
    desk.ask("  ")
    assert desk.session.chat is None
    desk.ask("", "cat.png")
    assert desk.shown == ["", "A cat."]
    assert desk.session.chat is not None
    assert desk.session.chat.title == "cat.png"


def test_what_is_sent_while_the_model_loads_is_kept_at_once_and_goes_when_it_is_ready(make: Make) -> None:
    gate = threading.Event()
    engine = FakeEngine(("Yes.",))
    steps = (LoadProgress("weights", 1, 4), LoadProgress("weights", 3, 4), gate)
    desk = make(loader=fake_loader(engine, *steps))
    desk.until(lambda: len(desk.of(Loading)) > 0)
    desk.until(lambda: desk.session.facts.progress == LoadProgress("weights", 3, 4))
    desk.session.send("Is it a cat?")
    desk.session.send("A black one?")
    assert desk.session.phase == "loading"
    assert desk.session.facts.waiting
    assert desk.shown == ["Is it a cat?", "A black one?"]
    gate.set()
    desk.settle()
    assert desk.shown == ["Is it a cat?", "A black one?", "Yes."]
    assert [m.text for m in engine.conversations[0].messages] == ["Is it a cat?\n\nA black one?"]
    assert [event.card for event in desk.of(ModelReady)] == [FAKE_CARD]
    assert [event.phase for event in desk.of(PhaseChanged)] == ["loading", "answering", "idle"]


def test_what_is_sent_while_an_answer_is_written_goes_after_it(make: Make) -> None:
    gate = threading.Event()
    desk = ready(make(("one", gate), ("two",)))
    desk.session.send("first")
    desk.until(lambda: desk.said == "one")
    desk.session.send("second")
    assert desk.session.facts.waiting
    gate.set()
    desk.settle()
    assert desk.shown == ["first", "one", "second", "two"]


def test_a_message_waits_for_its_pictures(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def slowly(source: Source) -> Picture:
        assert gate.wait(5)
        return fake_picture(str(source))

    desk = ready(make(("yes",)))
    monkeypatch.setattr(desk.session.tray, "_open_source", slowly)
    desk.session.attach("slow.png")
    desk.session.send("What is it?")
    assert desk.shown == []
    assert desk.session.facts.waiting
    gate.set()
    desk.settle()
    assert desk.shown == ["What is it?", "yes"]
    assert desk.session.tray.ready == ()


def test_a_message_whose_picture_can_not_be_opened_is_given_back(make: Make) -> None:
    desk = ready(make(("yes",)))
    desk.session.attach("good.png")
    number = desk.session.attach("bad")
    desk.session.send("What is it?")
    desk.settle()
    assert desk.shown == []
    assert [event.text for event in desk.of(Unsent)] == ["What is it?"]
    assert [event.number for event in desk.of(AttachFailed)] == [number]
    assert [(event.cause, event.remedy) for event in desk.of(Notice)] == [("bad is not a picture.", "Use another.")]
    assert [attachment.picture.name for attachment in desk.session.tray.ready] == ["good.png"]


def test_attached_pictures_show_before_they_are_sent_and_can_go_again(make: Make) -> None:
    desk = ready(make(("yes",)))
    desk.session.attach("a.png")
    second = desk.session.attach("green")
    desk.settle()
    assert sorted(event.attachment.number for event in desk.of(Attached)) == [1, 2]
    desk.session.detach(second)
    desk.ask("one left")
    assert [ref.name for ref in desk.session.page()[0].pictures] == ["a.png"]


def test_control_sequences_never_get_in_or_out(make: Make) -> None:
    desk = ready(make(("a \x1b]0;ti", "tle\x07b", "\x1b[31", "mc\x1b[0m")))
    desk.ask("paste\x1b[2Jd")
    assert desk.shown == ["pasted", "a bc"]
    assert desk.said == "a bc"


def test_stop_keeps_what_was_said(make: Make) -> None:
    desk = ready(make(("one ", "two ", threading.Event(), "never"), ("three",)))
    desk.session.send("count")
    desk.until(lambda: desk.said == "one two ")
    desk.session.stop()
    assert desk.session.phase == "stopping"
    desk.settle()
    answer = desk.session.page()[-1]
    assert (answer.text, answer.status) == ("one two ", "cancelled")
    assert [event.turn.id for event in desk.of(TurnFinished)] == [answer.id]
    desk.session.stop()
    desk.ask("go on")
    assert desk.shown == ["count", "one two ", "go on", "three"]


def test_a_question_stopped_before_its_first_word_is_read_with_the_next(make: Make) -> None:
    engine = FakeEngine((threading.Event(),), ("yes",))
    desk = ready(make(engine=engine))
    desk.session.attach("cat.png")
    desk.session.send("what is")
    desk.until(lambda: len(engine.conversations) == 1)
    desk.session.stop()
    desk.settle()
    desk.ask("this?")
    (message,) = engine.conversations[1].messages
    assert (message.text, len(message.pictures)) == ("what is\n\nthis?", 1)
