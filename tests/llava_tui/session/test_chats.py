"""Chats: resumed, left, renamed, deleted."""

from __future__ import annotations

import threading
from pathlib import Path

from llava_tui.history.store import Store
from llava_tui.session.events import (
    ChatChanged,
    ChatTitled,
    Notice,
    TurnFinished,
    Unsent,
)
from tests.fakes.fake_engine import FakeEngine
from tests.fakes.fake_picture import fake_picture
from tests.llava_tui.session.desk import Make, ready


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
