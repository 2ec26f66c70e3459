"""What is too much for the model is refused before anything of it is decoded or counted, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llava_engine.errors import ContextOverflowError
from llava_engine.pictures.opening import Picture
from llava_tui.history.store import Store
from llava_tui.session.attachments import Source
from llava_tui.session.conversation_of import Conversations
from llava_tui.session.draft import LONGEST_TEXT, UNKNOWN_PICTURES
from llava_tui.session.events import Notice, TurnAdded, Unsent
from llava_tui.session.picture_shelf import PictureShelf
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine
from tests.fakes.fake_picture import fake_picture
from tests.llava_tui.session.desk import Desk, Make, ready


def test_a_text_that_can_not_fit_comes_back_with_the_limit(make: Make) -> None:
    engine = FakeEngine(card=replace(FAKE_CARD, context_length=100))
    desk = ready(make(engine=engine))
    fits, too_long = "x" * 1600, "y" * 1601  # no usual token has more than 16 letters
    desk.session.send(too_long)
    desk.settle()
    assert desk.of(Unsent) == [Unsent(too_long)]
    (notice,) = desk.of(Notice)
    assert "1,601" in notice.cause
    assert "1,600" in notice.cause
    assert engine.conversations == []
    desk.session.send(fits)
    desk.settle()
    assert [message.text for message in engine.conversations[0].messages] == [fits]


def test_an_edited_text_comes_back_too(make: Make) -> None:
    desk = ready(make(engine=FakeEngine(("a",), card=replace(FAKE_CARD, context_length=100))))
    desk.ask("one")
    desk.session.edit(desk.session.page()[0].id, "z" * 1700)
    desk.settle()
    assert desk.shown == ["one", "a"]
    assert desk.of(Unsent) == [Unsent("z" * 1700)]


def test_a_text_has_a_limit_whatever_the_model_holds_and_before_there_is_one(make: Make) -> None:
    desk = make(engine=FakeEngine(card=replace(FAKE_CARD, context_length=1_000_000)))
    assert desk.session.takes(LONGEST_TEXT)
    assert not desk.session.takes(LONGEST_TEXT + 1)
    ready(desk)
    assert desk.session.takes(LONGEST_TEXT)
    assert not desk.session.takes(LONGEST_TEXT + 1)


def test_more_pictures_than_the_model_holds_are_refused_unopened(make: Make) -> None:
    engine = FakeEngine(card=replace(FAKE_CARD, context_length=200, picture_tokens=64))
    desk = ready(make(engine=engine))
    numbers = [desk.session.attach(f"{number}.png", at_once=number != 1) for number in range(4)]
    assert numbers == [1, 2, 3, None]
    desk.settle()
    assert len(desk.session.tray) == 3
    (notice,) = desk.of(Notice)
    assert "3 pictures" in notice.cause
    desk.session.detach(1)
    assert desk.session.attach("4.png") is not None


def test_before_there_is_a_model_only_so_many_pictures_are_opened(tmp_path: Path) -> None:
    from llava_tui.session.session import ChatSession

    opened: list[Source] = []

    def open_source(source: Source) -> Picture:
        opened.append(source)
        return fake_picture(str(source))

    desk = Desk(ChatSession(Store.open(tmp_path), open_source=open_source))
    for number in range(UNKNOWN_PICTURES + 5):
        desk.session.attach(f"{number}.png")
    desk.settle()
    assert len(opened) == UNKNOWN_PICTURES
    desk.session.close()


def test_a_conversation_that_can_not_fit_is_refused_before_a_picture_is_opened() -> None:
    def read(sha256: str) -> bytes:
        raise AssertionError("a picture was read")

    store = Store.in_memory()
    chat = store.new_chat("x")
    refs = [store.keep_picture(fake_picture(colour=colour)) for colour in ("red", "green", "blue")]
    first = store.add_turn(chat.id, None, "user", "three", pictures=refs)
    conversations = Conversations(store, PictureShelf(read), None, lambda notice: None)
    with pytest.raises(ContextOverflowError) as error:
        conversations.up_to(first.id, replace(FAKE_CARD, context_length=191, picture_tokens=64))
    assert (error.value.tokens, error.value.limit) == (3 * 64, 191)

    # What made it fail is not counted against the next question: it is not read either.
    failed = store.add_turn(chat.id, first.id, "assistant", "")
    store.finish_turn(failed.id, "", "failed", error="too long")
    second = store.add_turn(chat.id, failed.id, "user", "words")
    (message,) = conversations.up_to(second.id, replace(FAKE_CARD, context_length=191, picture_tokens=64)).messages
    assert message.text == "words"
    store.close()


def test_a_long_history_is_refused_without_reading_it(make: Make) -> None:
    engine = FakeEngine(("w " * 300,), card=replace(FAKE_CARD, context_length=30))
    desk = ready(make(engine=engine))
    desk.ask("one")
    engine.threads.clear()
    desk.ask("two")
    assert [event.turn.text for event in desk.of(TurnAdded) if event.turn.role == "user"] == ["one", "two"]
    assert any("30" in notice.cause for notice in desk.of(Notice))
    assert len(engine.conversations) == 1
    assert engine.threads == set()  # it was never asked to count
