"""A chat as it goes on, seen from outside: what a person does, what comes of it, what is kept."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from llava_engine.contract import LoadProgress, Sampling
from llava_engine.errors import ModelError, OutOfMemoryError, PictureError
from llava_engine.pictures.opening import Picture
from llava_engine.plan import Part, Place, Plan
from llava_tui.history.store import Store
from llava_tui.session.attachments import Source
from llava_tui.session.events import (
    AnswerGrew,
    Attached,
    AttachFailed,
    BranchChanged,
    ChatChanged,
    ChatTitled,
    Event,
    Loading,
    ModelReady,
    Notice,
    PhaseChanged,
    TurnAdded,
    TurnFinished,
    Unsent,
)
from llava_tui.session.session import ChatSession
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine, Step, fake_loader
from tests.fakes.fake_picture import fake_picture

AnyEvent = TypeVar("AnyEvent", bound=Event)


class Desk:
    """A session, and a person who looks at it."""

    def __init__(self, session: ChatSession) -> None:
        self.session = session
        self.events: list[Event] = []

    def until(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not enough():
            assert time.monotonic() < deadline, self.events
            self.events += self.session.poll()
            time.sleep(0.001)

    def settle(self) -> None:
        """Till nothing goes on any more."""
        session = self.session
        self.until(
            lambda: (
                (session.phase == "no_model" or (session.phase == "idle" and not session.facts.waiting))
                and not session.tray.opening
            )
        )
        self.events += self.session.poll()

    def of(self, kind: type[AnyEvent]) -> list[AnyEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def ask(self, text: str, *pictures: str) -> None:
        for picture in pictures:
            self.session.attach(picture)
        self.session.send(text)
        self.settle()

    @property
    def shown(self) -> list[str]:
        return [turn.text for turn in self.session.page()]

    @property
    def last(self) -> int:
        return self.session.page()[-1].id

    @property
    def said(self) -> str:
        return "".join(event.text for event in self.of(AnswerGrew))


def open_source(source: Source) -> Picture:
    """A name is a picture of it; "bad" is none."""
    if source == "bad":
        raise PictureError("bad is not a picture.", "Use another.")
    return fake_picture(str(source), "green" if source == "green" else "red")


Make = Callable[..., Desk]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    desks: list[Desk] = []

    def make(*answers: list[Step] | tuple[Step, ...], engine: FakeEngine | None = None, **more: object) -> Desk:
        engine = engine or FakeEngine(*answers)
        loaders = more.pop("loader", fake_loader(engine))
        session = ChatSession(Store.open(tmp_path), open_source=open_source, **more)  # type: ignore[arg-type]
        desk = Desk(session)
        desks.append(desk)
        session.load(loaders)  # type: ignore[arg-type]
        return desk

    yield make
    for desk in desks:
        desk.session.close()


def ready(desk: Desk) -> Desk:
    desk.settle()
    desk.events.clear()
    return desk


# Sending


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


# Stopping


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


# Versions


def test_regenerate_makes_a_version_beside_the_old_one_and_flip_goes_between_them(make: Make) -> None:
    engine = FakeEngine(("A cat.",), ("A dog.",))
    desk = ready(make(engine=engine))
    desk.ask("What is it?", "cat.png")
    first = desk.last
    desk.events.clear()
    desk.session.regenerate()
    desk.settle()
    assert desk.shown == ["What is it?", "A dog."]
    assert engine.conversations[0].messages[0].text == engine.conversations[1].messages[0].text
    second = desk.session.page()[-1]
    assert (second.version, second.versions) == (2, 2)
    assert [event.from_turn_id for event in desk.of(BranchChanged)] == [second.id]
    desk.session.flip(second.id, -1)
    assert desk.shown == ["What is it?", "A cat."]
    desk.session.flip(first, -1)
    assert desk.shown == ["What is it?", "A cat."]
    desk.session.flip(first, +1)
    assert desk.shown == ["What is it?", "A dog."]


def test_regenerating_an_earlier_answer_leaves_what_followed_the_old_one_with_it(make: Make) -> None:
    desk = ready(make(("a",), ("b",), ("c",)))
    desk.ask("one")
    first = desk.last
    desk.ask("two")
    desk.session.regenerate(first)
    desk.settle()
    assert desk.shown == ["one", "c"]
    desk.session.flip(desk.last, -1)
    assert desk.shown == ["one", "a", "two", "b"]


def test_regenerating_while_an_answer_is_written_stops_that_one(make: Make) -> None:
    desk = ready(make(("long ", threading.Event()), ("short",)))
    desk.session.send("q")
    desk.until(lambda: desk.said == "long ")
    desk.session.regenerate()
    desk.settle()
    assert desk.shown == ["q", "short"]
    desk.session.flip(desk.last, -1)
    assert [(turn.text, turn.status) for turn in desk.session.page()][1] == ("long ", "cancelled")


def test_an_edited_question_forks_and_keeps_its_pictures(make: Make) -> None:
    engine = FakeEngine(("a",), ("b",), ("c",))
    desk = ready(make(engine=engine))
    desk.ask("one", "cat.png")
    desk.ask("two")
    question = desk.session.page()[0]
    desk.session.edit(question.id, "uno")
    desk.settle()
    assert desk.shown == ["uno", "c"]
    assert len(engine.conversations[2].pictures) == 1
    assert [m.text for m in engine.conversations[2].messages] == ["uno"]
    new = desk.session.page()[0]
    assert (new.version, new.versions) == (2, 2)
    desk.session.flip(new.id, -1)
    assert desk.shown == ["one", "a", "two", "b"]


def test_an_answer_can_not_be_edited_nor_nothing_regenerated(make: Make) -> None:
    desk = ready(make(("a",)))
    desk.session.regenerate()
    desk.ask("one")
    desk.session.edit(desk.last, "x")
    desk.settle()
    assert desk.shown == ["one", "a"]
    assert len(desk.of(Notice)) == 2


def test_versions_are_not_flipped_under_a_growing_answer(make: Make) -> None:
    gate = threading.Event()
    desk = ready(make(("a",), ("b", gate)))
    desk.ask("one")
    first = desk.last
    desk.session.regenerate()
    desk.until(lambda: desk.session.page()[-1].text == "b")
    desk.session.flip(first, +1)
    gate.set()
    desk.settle()
    assert desk.shown == ["one", "b"]
    assert [event.severity for event in desk.of(Notice)] == ["warning"]


# Chats


def test_a_chat_is_resumed_where_it_was_with_its_pictures(make: Make) -> None:
    first = ready(make(("A cat.",)))
    first.ask("What is it?", "cat.png")
    first.session.close()

    engine = FakeEngine(("Yes.",))
    desk = ready(make(engine=engine))
    assert desk.session.open_last()
    assert desk.shown == ["What is it?", "A cat."]
    assert desk.session.chat is not None
    assert desk.session.chat.title == "What is it?"
    (ref,) = desk.session.page()[0].pictures
    picture = desk.session.picture(ref)
    assert (picture.name, picture.size, picture.data) == ("cat.png", (8, 6), fake_picture().data)
    desk.ask("Sure?")
    assert [m.text for m in engine.conversations[0].messages] == ["What is it?", "A cat.", "Sure?"]
    assert [picture.sha256 for picture in engine.conversations[0].pictures] == [ref.sha256]


def test_a_missing_picture_is_told_once_and_the_chat_goes_on(make: Make, tmp_path: Path) -> None:
    first = ready(make(("A cat.",)))
    first.ask("What is it?", "cat.png")
    first.session.close()
    for file in (tmp_path / "pictures").rglob("*"):
        if file.is_file():
            file.unlink()
    engine = FakeEngine(("Yes.",))
    desk = ready(make(engine=engine))
    desk.session.open_last()
    desk.ask("Sure?")
    desk.ask("Really?")
    assert len(engine.conversations) == 2
    assert engine.conversations[1].pictures == ()
    (notice,) = desk.of(Notice)
    assert "cat.png" in notice.cause
    assert notice.severity == "warning"


def test_there_is_nothing_to_resume_in_an_empty_history(make: Make) -> None:
    assert not ready(make()).session.open_last()


def test_an_answer_left_half_by_a_dead_program_is_marked_so(make: Make, tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    chat = store.new_chat("x")
    question = store.add_turn(chat.id, None, "user", "q")
    store.add_turn(chat.id, question.id, "assistant", "half of", status="streaming")
    store.close()
    desk = ready(make(("b",)))
    desk.session.open_last()
    assert [(turn.text, turn.status) for turn in desk.session.page()][1] == ("half of", "interrupted")


def test_a_new_chat_leaves_the_old_answer_stopped_and_kept(make: Make) -> None:
    desk = ready(make(("half", threading.Event()), ("fresh",)))
    desk.session.send("old")
    desk.until(lambda: desk.said == "half")
    old = desk.session.chat
    assert old is not None
    desk.session.new_chat()
    desk.session.send("new")
    assert desk.shown == ["new"]
    desk.settle()
    assert desk.shown == ["new", "fresh"]
    desk.session.open_chat(old.id)
    assert [(turn.text, turn.status) for turn in desk.session.page()] == [("old", "complete"), ("half", "cancelled")]


def test_a_message_that_waited_for_a_picture_is_not_sent_into_another_chat(make: Make) -> None:
    desk = ready(make(("yes",)))
    desk.session.attach("a.png")
    desk.session.send("What is it?")
    desk.session.new_chat()
    desk.settle()
    assert desk.shown == []
    assert [event.text for event in desk.of(Unsent)] == ["What is it?"]
    assert len(desk.session.tray.ready) == 1


def test_titles_are_the_first_question_and_can_be_changed(make: Make) -> None:
    desk = ready(make(("yes",)))
    desk.ask("What\nis " + "it " * 40)
    chat = desk.session.chat
    assert chat is not None
    assert chat.title.startswith("What is it it")
    assert len(chat.title) <= 60
    desk.session.rename_chat(chat.id, "Cats")
    desk.settle()
    assert desk.session.chat is not None
    assert desk.session.chat.title == "Cats"
    assert [event.chat.title for event in desk.of(ChatTitled)] == [chat.title, "Cats"]


def test_deleting_the_shown_chat_while_it_answers_shows_a_new_one(make: Make) -> None:
    desk = ready(make(("half", threading.Event()), ("yes",)))
    desk.session.send("old")
    desk.until(lambda: desk.said == "half")
    assert desk.session.chat is not None
    desk.session.delete_chat(desk.session.chat.id)
    desk.settle()
    assert desk.session.chat is None
    assert [event.chat for event in desk.of(ChatChanged)] == [None]
    assert desk.of(TurnFinished) == []
    assert desk.of(Notice) == []
    desk.ask("new")
    assert desk.shown == ["new", "yes"]


def test_opening_a_chat_that_is_gone_is_a_notice(make: Make) -> None:
    desk = ready(make(("yes",)))
    desk.session.open_chat(99)
    desk.settle()
    assert len(desk.of(Notice)) == 1


def test_a_screen_that_reads_its_turns_anew_is_not_told_of_them_twice(make: Make) -> None:
    desk = ready(make(("yes",)))
    desk.session.new_chat()
    desk.session.send("q")
    (changed, *rest) = [event for event in desk.session.poll() if not isinstance(event, PhaseChanged | ChatTitled)]
    assert changed == ChatChanged(None)
    assert rest == []
    assert desk.shown[0] == "q"
    desk.settle()


# What goes wrong


def test_a_users_error_is_a_notice_and_the_conversation_goes_on(make: Make) -> None:
    engine = FakeEngine(("yes",), card=replace(FAKE_CARD, context_length=10))
    desk = ready(make(engine=engine))
    desk.ask("word " * 11)
    (notice,) = desk.of(Notice)
    assert "11 tokens" in notice.cause
    assert notice.remedy
    failed = desk.session.page()[-1]
    assert (failed.status, failed.text) == ("failed", "")
    assert "11 tokens" in failed.error
    desk.ask("short")
    assert desk.shown[-1] == "yes"
    assert [m.text for m in engine.conversations[1].messages] == ["short"]


def test_a_bug_in_the_engine_leaves_a_report_and_the_conversation_goes_on(make: Make) -> None:
    reported: list[BaseException] = []

    def report(error: BaseException) -> Path:
        reported.append(error)
        return Path("crash.txt")

    bug = RuntimeError("shape mismatch")
    desk = ready(make(("so far", bug), ("yes",), report_bug=report))
    desk.ask("q")
    assert reported == [bug]
    (notice,) = desk.of(Notice)
    assert "shape mismatch" in notice.cause
    assert "crash.txt" in notice.remedy
    assert [(turn.text, turn.status) for turn in desk.session.page()][1] == ("so far", "failed")
    desk.ask("again")
    assert desk.shown[-1] == "yes"


def test_a_model_that_can_not_be_loaded_is_a_notice_and_another_may_be_loaded(make: Make) -> None:
    engine = FakeEngine(("yes",))
    desk = make(loader=fake_loader(engine, ModelError("There is no folder x.", "Check the path.")))
    desk.session.send("hello")
    desk.until(lambda: desk.session.phase == "no_model")
    desk.settle()
    assert [notice.cause for notice in desk.of(Notice)] == ["There is no folder x."]
    desk.session.load(fake_loader(engine))
    desk.until(lambda: desk.session.phase != "loading")
    desk.settle()
    assert desk.shown == ["hello", "yes"]


PLAN = Plan((Place("cpu", 2**33),), (Part("layers", 0, 2**34, (0, 32)),), "bfloat16", "none", 2048)


def test_memory_that_runs_out_is_told_with_the_plan_and_the_chat_goes_on(make: Make) -> None:
    no_memory = OutOfMemoryError("Memory ran out.", "Try a smaller context.", PLAN)
    desk = ready(make(("so far", no_memory), ("yes",)))
    desk.ask("one")
    (notice,) = desk.of(Notice)
    assert notice.cause == "Memory ran out."
    assert notice.remedy.startswith("Try a smaller context.")
    assert "layers" in notice.remedy and "needs 16.0 GiB; 8.0 GiB may be used" in notice.remedy
    desk.ask("two")
    assert desk.shown[-1] == "yes"


def test_a_model_that_does_not_fit_leaves_the_app_alive(make: Make) -> None:
    engine = FakeEngine(("yes",))
    desk = make(loader=fake_loader(engine, OutOfMemoryError("It does not fit.", "Try --quantize int8.", PLAN)))
    desk.until(lambda: desk.session.phase == "no_model")
    desk.settle()
    assert [notice.cause for notice in desk.of(Notice)] == ["It does not fit."]
    desk.session.load(fake_loader(engine))
    desk.ask("hello")
    assert desk.shown == ["hello", "yes"]


def test_another_model_does_not_wait_for_the_memory_of_the_old_one(make: Make) -> None:
    engine = FakeEngine(("yes",))
    desk = ready(make(engine=engine))
    desk.ask("hello")
    there, alive = weakref.ref(engine), []

    def loader(on_progress: Callable[[LoadProgress], None]) -> FakeEngine:
        gc.collect()
        alive.append(there() is not None)
        return FakeEngine(("another",))

    del engine
    desk.session.load(loader)
    desk.ask("again")
    assert desk.shown[-1] == "another"
    assert alive == [False]


def test_another_load_cancels_the_one_under_way(make: Make) -> None:
    gate, far = threading.Event(), LoadProgress("reading weights", 1, 10)
    first, second = FakeEngine(("first",)), FakeEngine(("second",))
    desk = make(loader=fake_loader(first, far, gate, far, ValueError("it went on")))
    desk.until(lambda: desk.session.facts.progress == far)
    desk.session.load(fake_loader(second))
    gate.set()
    desk.ask("who")
    assert desk.shown == ["who", "second"]
    assert not desk.of(Notice)


def test_a_disk_that_fails_is_a_notice_and_the_chat_goes_on_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    session = ChatSession(Store.open(tmp_path / "file"), open_source=open_source)
    desk = Desk(session)
    session.load(fake_loader(FakeEngine(("yes",))))
    desk.ask("q", "cat.png")
    desk.until(lambda: session.phase == "idle")
    desk.settle()
    assert desk.shown == ["q", "yes"]
    assert len(desk.of(Notice)) == 1
    assert not session.facts.saved
    session.close()


# Facts


def test_the_context_is_counted_before_during_and_after_an_answer(make: Make) -> None:
    gate = threading.Event()
    desk = ready(make(("one ", "two ", gate, "three")))
    assert desk.session.facts.context_used == 0
    assert desk.session.facts.context_total == 2048
    desk.session.attach("cat.png")
    desk.session.send("what is it")
    desk.until(lambda: desk.said == "one two ")
    desk.until(lambda: desk.session.facts.context_used is not None)
    assert desk.session.facts.context_used == 64 + 3 + 2
    assert desk.session.facts.picture_tokens == 64
    gate.set()
    desk.settle()
    facts = desk.session.facts
    assert facts.context_used == 64 + 3 + 3
    assert (facts.tokens_per_second, facts.time_to_first_token_s) == (20.0, 0.25)  # the engine's own figures
    assert facts.card == FAKE_CARD

    chat = desk.session.chat
    assert chat is not None
    desk.session.new_chat()
    assert desk.session.facts.context_used == 0
    desk.session.open_chat(chat.id)
    desk.until(lambda: desk.session.facts.context_used is not None)
    assert desk.session.facts.context_used == 64 + 3 + 3


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_growing_answer_is_saved_each_second_and_not_more_often(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    gates = [threading.Event() for _ in range(3)]
    desk = ready(make(("one ", gates[0], "two ", gates[1], "three ", gates[2]), clock=clock))
    saved: list[str] = []
    update = Store.update_turn_text

    def noted(store: Store, turn_id: int, text: str) -> None:
        saved.append(text)
        update(store, turn_id, text)

    monkeypatch.setattr(Store, "update_turn_text", noted)
    desk.session.send("count")
    desk.until(lambda: desk.said == "one ")
    assert saved == []
    clock.now = 0.9
    gates[0].set()
    desk.until(lambda: desk.said == "one two ")
    assert saved == []
    clock.now = 1.0
    desk.events += desk.session.poll()
    assert saved == ["one two "]
    clock.now = 5.0
    desk.events += desk.session.poll()
    assert saved == ["one two "]  # nothing new to save
    gates[1].set()
    desk.until(lambda: desk.said == "one two three ")
    assert saved == ["one two ", "one two three "]
    other = Store.open(tmp_path)
    chat = other.last_chat()
    assert chat is not None
    assert other.turns(chat.id)[-1].text == "one two three "
    other.close()
    gates[2].set()
    desk.settle()


def test_closing_in_the_middle_of_an_answer_keeps_what_was_said(make: Make, tmp_path: Path) -> None:
    desk = ready(make(("half", threading.Event())))
    desk.session.send("q")
    desk.until(lambda: desk.said == "half")
    desk.session.close()
    store = Store.open(tmp_path)
    chat = store.last_chat()
    assert chat is not None
    assert [(turn.text, turn.status) for turn in store.turns(chat.id)][1] == ("half", "cancelled")
    store.close()
