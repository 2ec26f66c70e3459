"""A history that another program holds: what is said is saved as soon as that lets go; and what is deleted is gone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from llava_tui.history.kept_database import LockedError
from llava_tui.history.store import Store
from tests.fakes.fake_picture import fake_picture
from tests.fakes.held_history import held

NAME = "history.sqlite3"


def test_the_end_of_an_answer_is_saved_when_the_lock_opens(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    chat = store.new_chat("kept")
    question = store.add_turn(chat.id, None, "user", "What is it?")
    answer = store.add_turn(chat.id, question.id, "assistant", "", status="streaming")
    with held(tmp_path):
        store.update_turn_text(answer.id, "A c")
        finished = store.finish_turn(answer.id, "A cat.", "complete")
        assert (finished.text, finished.status) == ("A cat.", "complete")
        (notice,) = store.take_notices()
        assert "holds the chat history" in notice.cause
        assert store.saved
        with pytest.raises(LockedError):
            store.add_turn(chat.id, answer.id, "user", "And this?")
    deadline = time.monotonic() + 10
    while store.turn(answer.id) != finished and time.monotonic() < deadline:
        assert store.take_notices() == []  # what a screen does every 50 ms
        time.sleep(0.05)
    assert store.turn(answer.id) == finished
    store.add_turn(chat.id, answer.id, "user", "And this?")
    store.close()
    store = Store.open(tmp_path)
    assert [turn.text for turn in store.turns(chat.id)] == ["What is it?", "A cat.", "And this?"]
    store.close()


def test_closing_waits_for_the_lock(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    chat = store.new_chat("kept")
    answer = store.add_turn(chat.id, None, "assistant", "", status="streaming")
    with held(tmp_path):
        store.finish_turn(answer.id, "A cat.", "complete")
    store.close()
    store = Store.open(tmp_path)
    assert [turn.text for turn in store.turns(chat.id)] == ["A cat."]
    store.close()


def test_a_lock_at_the_start_does_not_cost_the_session_its_history(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with held(tmp_path):
        store = Store.open(tmp_path)
        assert store.saved
        assert store.take_notices() == []
    time.sleep(0.6)
    chat = store.new_chat("kept")
    store.close()
    store = Store.open(tmp_path)
    assert store.last_chat() == chat
    store.close()


def test_a_clock_that_went_back_does_not_change_which_chat_was_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(tmp_path)
    first = store.new_chat("first")
    store.add_turn(first.id, None, "user", "in winter time")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    second = store.new_chat("second")
    store.add_turn(second.id, None, "user", "an hour before")
    last = store.last_chat()
    assert last is not None
    assert last.title == "second"
    store.close()


def test_a_deleted_chat_leaves_nothing_in_the_files(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    secret, other = store.new_chat("Zwetschgenkuchen"), store.new_chat("other")
    ref = store.keep_picture(fake_picture("Quarkstrudel.png"))
    parent = None
    for number in range(50):
        parent = store.add_turn(
            secret.id, parent, "user", f"Powidltascherl {number} " * 40, pictures=[ref] if number == 0 else []
        ).id
        store.add_turn(other.id, None, "user", "Something else.")
    words = (b"Zwetschgenkuchen", b"Quarkstrudel", b"Powidltascherl", b"powidltascherl")
    assert any(word in file.read_bytes() for file in tmp_path.glob(f"{NAME}*") for word in words)
    store.delete_chat(secret.id)
    for moment in ("open", "closed"):
        found = [(file.name, word) for file in tmp_path.glob(f"{NAME}*") for word in words if word in file.read_bytes()]
        assert not found, moment
        store.close()
    assert [file for file in (tmp_path / "pictures").rglob("*") if file.is_file()] == []
