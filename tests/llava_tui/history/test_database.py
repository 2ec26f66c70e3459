"""A history that is broken, newer, unwritable or full: nothing is overwritten, nothing is lost, the chat goes on."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_engine.errors import StorageError
from llava_tui.history.schema import MIGRATIONS
from llava_tui.history.store import Store
from tests.fakes.fake_picture import fake_picture

NAME = "history.sqlite3"


def with_one_chat(folder: Path, turns: int = 1) -> Path:
    store = Store.open(folder)
    chat, parent = store.new_chat("kept"), None
    for number in range(turns):
        parent = store.add_turn(chat.id, parent, "user", f"hello {number} " * 20).id
    store.close()
    return folder / NAME


def works(store: Store) -> bool:
    chat = store.new_chat("new")
    turn = store.add_turn(chat.id, None, "user", "hello")
    ref = store.keep_picture(fake_picture())
    return store.turns(chat.id) == [turn] and store.picture_bytes(ref.sha256) == fake_picture().data


def overwrite_all(path: Path) -> None:
    path.write_bytes(b"This is not a database. " * 500)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def drop_a_table(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("DROP TABLE chats")
    db.close()


@pytest.mark.parametrize("damage", [overwrite_all, truncate, drop_a_table])
def test_a_broken_one_is_set_aside_and_a_new_one_begun(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = with_one_chat(tmp_path, turns=300)
    damage(path)
    before = path.read_bytes()
    store = Store.open(tmp_path)
    (notice,) = store.take_notices()
    assert "damaged" in notice.cause
    assert store.saved
    assert store.chats() == []
    assert works(store)
    store.close()
    (aside,) = tmp_path.glob("history-broken-*.sqlite3")
    assert aside.read_bytes() == before
    assert str(aside) in notice.cause

    again = Store.open(tmp_path)
    assert [chat.title for chat in again.chats()] == ["new"]
    assert again.take_notices() == []
    again.close()


def test_one_set_aside_never_overwrites_another(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / NAME).write_bytes(b"broken %d" % number * 200)
        Store.open(tmp_path).close()
    contents = {path.read_bytes()[:8] for path in tmp_path.glob("history-broken-*")}
    assert contents == {b"broken 0", b"broken 1", b"broken 2"}


def test_damage_that_shows_up_later_is_set_aside_then(tmp_path: Path) -> None:
    path = with_one_chat(tmp_path, turns=2000)
    data = bytearray(path.read_bytes())
    half = len(data) // 2
    data[half:-4096] = os.urandom(len(data) - 4096 - half)
    path.write_bytes(data)
    store = Store.open(tmp_path)
    with pytest.raises(StorageError):
        store.path_to(2000)
    assert any("damaged" in notice.cause for notice in store.take_notices())
    assert store.saved
    assert works(store)
    store.close()
    assert len(list(tmp_path.glob("history-broken-*.sqlite3"))) == 1


def test_a_newer_one_is_left_as_it_is(tmp_path: Path) -> None:
    path = with_one_chat(tmp_path)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    before = path.read_bytes()
    store = Store.open(tmp_path)
    (notice,) = store.take_notices()
    assert "newer" in notice.cause
    assert "Update" in notice.remedy
    assert not store.saved
    assert works(store)
    store.close()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def test_a_folder_that_can_not_be_made_leaves_a_history_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store.open(tmp_path / "file" / "llava")
    (notice,) = store.take_notices()
    assert "not kept" in notice.cause
    assert not store.saved
    assert works(store)
    store.close()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_leaves_a_history_in_memory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    store = Store.open(tmp_path)
    assert len(store.take_notices()) == 1
    assert not store.saved
    assert works(store)
    store.close()
    tmp_path.chmod(0o700)


def test_a_full_disk_in_the_middle_of_a_chat_goes_on_in_memory_with_all_there_was(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    chat = store.new_chat("kept")
    first = store.add_turn(chat.id, None, "user", "before")
    store._db.read("PRAGMA max_page_count = 1")  # what SQLite then says is what it says of a full disk
    second = store.add_turn(chat.id, first.id, "assistant", "during " * 20_000)
    assert not store.saved
    (notice,) = store.take_notices()
    assert "full" in notice.cause
    assert "space" in notice.remedy
    assert store.turns(chat.id) == [first, second]
    assert works(store)
    store.close()
    again = Store.open(tmp_path)
    assert [turn.text for turn in again.turns(chat.id)] == ["before"]
    again.close()


def test_a_picture_that_the_disk_does_not_take_is_still_shown(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    (tmp_path / "pictures").write_text("in the way")
    ref = store.keep_picture(fake_picture())
    assert store.picture_bytes(ref.sha256) == fake_picture().data
    (notice,) = store.take_notices()
    assert "picture" in notice.cause
    store.close()


def test_a_folder_and_its_database_are_made(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "a" / "b")
    assert store.saved
    assert works(store)
    store.close()
    with sqlite3.connect(tmp_path / "a" / "b" / NAME) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
