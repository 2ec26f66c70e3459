"""What a person says while another program holds the history: it waits, and goes when that lets go; no word is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from llava_engine.terminal_safe import SafeText
from llava_tui.history.store import Store
from llava_tui.history.turns import Turn
from llava_tui.session.events import Attached, AttachFailed, Notice, Unsent
from llava_tui.session.shown_branch import ShownBranch
from tests.fakes.held_history import held
from tests.llava_tui.session.desk import Desk, Make, ready


def look_for(desk: Desk, seconds: float) -> float:
    """Poll as a screen does; how long the polls took in all."""
    spent, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        desk.events += desk.session.poll()
        spent += time.monotonic() - began
        time.sleep(0.02)
    return spent


def test_a_message_waits_for_the_lock_and_is_sent_by_itself(make: Make, tmp_path: Path) -> None:
    desk = ready(make(("red",), ("blue",)))
    desk.ask("first")
    desk.events.clear()
    with held(tmp_path):
        desk.session.send("and this?")
        look_for(desk, 1.5)
        assert desk.session.facts.waiting
        assert desk.session.facts.held
        assert desk.shown == ["first", "red"]
        (notice,) = desk.of(Notice)  # one, however often it is tried
        assert "holds the chat history" in notice.cause
        assert "waits" in notice.remedy
    desk.settle()
    assert not desk.session.facts.held
    assert desk.shown == ["first", "red", "and this?", "blue"]
    assert not desk.of(Unsent)
    assert len(desk.of(Notice)) == 1


def test_the_first_message_with_a_picture_waits_too(make: Make, tmp_path: Path) -> None:
    desk = ready(make(("a cat",)))
    with held(tmp_path):
        desk.session.attach("cat.png")
        desk.until(lambda: bool(desk.of(Attached)))
        desk.session.send("what is it")
        desk.session.send("in one word")
        look_for(desk, 0.3)
    desk.settle()
    assert desk.shown == ["what is it\nin one word", "a cat"]
    assert [ref.name for ref in desk.session.page()[0].pictures] == ["cat.png"]
    assert not desk.of(AttachFailed)
    assert not desk.session.tray.ready
    assert len(Store.open(tmp_path).chats()) == 1


def test_polling_does_not_stand_still_while_it_waits(make: Make, tmp_path: Path) -> None:
    desk = ready(make(("red",)))
    with held(tmp_path):
        desk.session.send("hello")
        assert look_for(desk, 3.0) < 0.7  # a wait of a quarter of a second at each try would make 1 s
    desk.settle()
    assert desk.shown == ["hello", "red"]


def test_a_question_that_is_saved_is_answered_when_the_lock_opens(make: Make, tmp_path: Path) -> None:
    desk = ready(make(("red",), ("green",)))
    desk.ask("what colour")
    desk.events.clear()
    with held(tmp_path):
        desk.session.regenerate()
        look_for(desk, 0.8)
        assert desk.session.facts.waiting
        assert len(desk.of(Notice)) == 1
    desk.settle()
    assert desk.shown == ["what colour", "green"]


def test_a_change_that_can_not_be_saved_is_given_back(make: Make, tmp_path: Path) -> None:
    desk = ready(make(("red",)))
    desk.ask("what colour")
    desk.events.clear()
    question = desk.session.page()[0].id
    with held(tmp_path):
        desk.session.edit(question, "what shape")
        look_for(desk, 0.1)
    assert [event.text for event in desk.of(Unsent)] == ["what shape"]
    assert len(desk.of(Notice)) == 1
    assert desk.shown == ["what colour", "red"]


def test_a_message_for_a_chat_that_another_llava_deleted_is_given_back(make: Make, tmp_path: Path) -> None:
    desk = ready(make(("red",)))
    desk.ask("what colour")
    desk.events.clear()
    assert desk.session.chat is not None
    other = Store.open(tmp_path)
    other.delete_chat(desk.session.chat.id)
    other.close()
    desk.session.send("are you there")
    desk.settle()
    assert [event.text for event in desk.of(Unsent)] == ["are you there"]
    assert len(desk.of(Notice)) == 1


def test_a_lock_between_a_question_and_its_answer_asks_once(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = ready(make(("red",)))
    ask, locks = ShownBranch.ask, []

    def then_locked(self: ShownBranch, text: SafeText, pictures: list[object]) -> Turn:
        turn = ask(self, text, pictures)  # type: ignore[arg-type]
        locks.append(lock := held(tmp_path))
        lock.__enter__()
        return turn

    monkeypatch.setattr(ShownBranch, "ask", then_locked)
    desk.session.send("what colour")
    look_for(desk, 0.8)
    assert desk.shown == ["what colour"]
    for lock in locks:
        lock.__exit__(None, None, None)
    desk.settle()
    assert desk.shown == ["what colour", "red"]
    assert len(locks) == 1


def test_a_message_that_waits_for_the_lock_is_saved_when_the_program_ends(make: Make, tmp_path: Path) -> None:
    desk = ready(make(("red",)))
    with held(tmp_path):
        desk.session.send("what colour")
        desk.events += desk.session.poll()
    desk.session.close()
    store = Store.open(tmp_path)
    chat = store.last_chat()
    assert chat is not None
    assert store.turns(chat.id)[0].text == "what colour"
    store.close()
