"""A history with wrong bytes in it: what is damaged shows as damaged, the rest lives, nothing ends in a traceback."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_engine.contract import Reply
from llava_engine.errors import StorageError
from llava_tui.history.columns import LATEST
from llava_tui.history.store import Store
from llava_tui.session.session import ChatSession
from tests.fakes.fake_picture import fake_picture

NAME = "history.sqlite3"
REPLY = Reply("A cat.", (5, 6), "stop", "<image> What is it?", 70, 3, 2, (64,), 0.5, 30.0)


def history(folder: Path) -> Path:
    """Three chats with pictures, versions, figures and umlauts; the log is in the file."""
    store = Store.open(folder)
    for number in range(3):
        chat, parent = store.new_chat(f"chat {number}"), None
        ref = store.keep_picture(fake_picture(f"cat-{number}.png", "red", (8, 6 + number)))
        for turn in range(6):
            question = store.add_turn(chat.id, parent, "user", f"Is number {turn} schön? " * 9, pictures=[ref])
            for _ in range(2):
                answer = store.add_turn(chat.id, question.id, "assistant", "", status="streaming")
                store.finish_turn(answer.id, "A cat. " * 12, "complete", reply=REPLY)
            parent = answer.id
    store.close()
    return folder / NAME


def sql(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            db.execute(statement)
    db.close()


def live(folder: Path) -> None:
    """What a person does on a day: looks, reads, searches, asks, renames, deletes."""

    def attempt(act: Callable[[], object]) -> None:
        try:
            act()
        except StorageError as error:
            assert error.cause

    store = Store.open(folder)
    session = ChatSession(store)
    session.open_last()
    session.poll()
    for query in ("", "cat", "schön chat"):
        attempt(lambda query=query: store.chats(query))
    for chat_id in (1, 2, 3):
        session.open_chat(chat_id)
        attempt(lambda chat_id=chat_id: read_through(store, chat_id))
        attempt(lambda chat_id=chat_id: store.rename(chat_id, "new name"))
        session.flip(3, 1)
        session.edit(1, "another question")
        session.send("a question more")
        session.poll()
    session.delete_chat(2)
    session.poll()
    session.close()


def read_through(store: Store, chat_id: int) -> None:
    for turn in store.turns(chat_id):
        assert all(ord(letter) != 0xDC80 for letter in turn.text)
        assert 0 <= turn.created <= LATEST
        store.versions(turn.id)
        for ref in turn.pictures:
            try:
                store.picture_bytes(ref.sha256)
            except StorageError:
                continue
    chat = store.chat(chat_id)
    if chat is not None and chat.leaf_id is not None:
        store.path_to(chat.leaf_id)
        store.show_branch(chat.leaf_id)


@pytest.mark.parametrize("seed", [pytest.param(0, id="60 flips"), pytest.param(1, marks=pytest.mark.slow)])
def test_flipped_bytes_end_in_no_traceback(tmp_path: Path, seed: int) -> None:
    whole = history(tmp_path / "whole")
    size = whole.stat().st_size
    chance = random.Random(seed)
    for number in range(60 if seed == 0 else 1500):
        folder = tmp_path / "flipped"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole.parent, folder)
        data = bytearray(whole.read_bytes())
        # Half of them where the schema and the first pages' headers are, which a flip anywhere seldom meets.
        place = chance.randrange(size if number % 2 else 8192)
        data[place] ^= chance.randrange(1, 256)
        (folder / NAME).write_bytes(data)
        try:
            live(folder)
        except BaseException as error:
            error.add_note(f"byte {place} of {size} became {data[place]:#x}")
            raise


@pytest.mark.parametrize(
    "stats",
    ["'{'", "'[]'", "'{}'", "x'ff00'", "7", '\'{"finish_reason": "stop"}\'', "'null'"],
)
def test_figures_that_can_not_be_read_cost_nothing_but_themselves(tmp_path: Path, stats: str) -> None:
    path = history(tmp_path)
    sql(path, f"UPDATE turns SET stats = {stats} WHERE id = 18")
    store = Store.open(tmp_path)
    turn = store.turn(18)
    assert turn is not None
    assert turn.stats is None
    assert turn.text.startswith("A cat.")
    assert store.take_notices() == []
    store.close()


def test_a_text_that_is_no_utf8_shows_what_can_be_read_of_it(tmp_path: Path) -> None:
    path = history(tmp_path)
    sql(path, "UPDATE turns SET text = CAST(x'41ff42' AS TEXT) WHERE id = 18", "UPDATE chats SET title = x'43fe'")
    store = Store.open(tmp_path)
    turn = store.turn(18)
    assert turn is not None
    assert turn.text == "A�B"
    assert {chat.title for chat in store.chats()} == {"C�"}
    store.close()


@pytest.mark.parametrize("column", ["role", "status"])
def test_a_turn_of_which_nobody_can_tell_what_it_is_is_shown_as_damaged(tmp_path: Path, column: str) -> None:
    path = history(tmp_path)
    sql(path, "PRAGMA ignore_check_constraints = ON", f"UPDATE turns SET {column} = 'asristant' WHERE id = 18")
    store = Store.open(tmp_path)
    turn = store.turn(18)
    assert turn is not None
    assert turn.status == "failed"
    assert "damaged" in turn.error
    assert turn.text.startswith("A cat.")
    assert len(store.turns(1)) == 12
    store.close()


@pytest.mark.parametrize("value", ["-1e308", "9e99", "'noon'", "x'00'"])
def test_a_time_that_no_calendar_has_becomes_one(tmp_path: Path, value: str) -> None:
    path = history(tmp_path)
    sql(path, f"UPDATE chats SET created = {value}, updated = {value}", f"UPDATE turns SET created = {value}")
    store = Store.open(tmp_path)
    assert {chat.created for chat in store.chats()} == {0.0}
    assert {turn.created for turn in store.turns(1)} == {0.0}
    store.close()


@pytest.mark.parametrize("parent", ["id", "id + 1", "18"])
def test_parents_that_lead_in_a_circle_end_somewhere(tmp_path: Path, parent: str) -> None:
    path = history(tmp_path)
    sql(path, f"UPDATE turns SET parent_id = {parent}, shown_child_id = {parent}")
    store = Store.open(tmp_path)
    assert len(store.path_to(18)) <= 18
    assert store.show_branch(18).id
    assert len(store.turns(1)) <= 18
    store.close()


def test_a_chat_whose_last_turn_is_lost_shows_its_newest(tmp_path: Path) -> None:
    path = history(tmp_path)
    sql(path, "UPDATE chats SET leaf_id = 999999 WHERE id = 1")
    store = Store.open(tmp_path)
    assert [turn.id for turn in store.turns(1)][-1] == 18
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        ("stats TEXT", "st\udcffts TEXT"),
        ("role TEXT", "rule TEXT"),
        ("CREATE TABLE chats", "CREATE TABLE chatz"),
        ("CREATE INDEX turns_by_chat", "CREATE INDEX turns_by_chap"),
        ("INSERT INTO turns_fts", "INSERT INTO turns_ftt"),
    ],
)
def test_a_damaged_schema_never_ends_in_a_traceback(tmp_path: Path, damage: tuple[str, str]) -> None:
    path = history(tmp_path)
    old, new = (part.encode("utf-8", "surrogateescape") for part in damage)
    data = path.read_bytes()
    assert data.count(old) >= 1
    path.write_bytes(data.replace(old, new))
    live(tmp_path)
    store = Store.open(tmp_path)
    assert store.saved
    chat = store.new_chat("goes on")
    assert store.add_turn(chat.id, None, "user", "hello").text == "hello"
    store.close()


def test_of_a_damaged_file_what_can_be_read_is_saved(tmp_path: Path) -> None:
    path = history(tmp_path)
    with sqlite3.connect(path) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'turns_by_chat'").fetchone()
    db.close()
    data = bytearray(path.read_bytes())
    data[(root - 1) * 4096 : root * 4096] = b"\xa5" * 4096
    path.write_bytes(data)
    store = Store.open(tmp_path)
    with pytest.raises(StorageError):
        store.chats()
    (notice,) = store.take_notices()
    assert "3 chats" in notice.remedy
    assert [chat.turns for chat in store.chats()] == [18, 18, 18]
    assert [turn.text for turn in store.turns(1)][:2] == ["Is number 0 schön? " * 9, "A cat. " * 12]
    assert store.chats("schön")
    assert store.saved
    store.close()


def test_a_damaged_index_of_words_is_made_again_and_no_chat_is_lost(tmp_path: Path) -> None:
    path = history(tmp_path)
    sql(path, "DELETE FROM turns_fts_data WHERE id > 10")
    store = Store.open(tmp_path)
    assert len(store.chats("schön")) == 3
    assert len(store.chats()) == 3
    assert list(tmp_path.glob("*broken*")) == []
    store.close()
