"""What is written is there again: the tree, its branches, pages, pictures, and a history that others read too."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava_engine.contract import Reply
from llava_engine.errors import StorageError
from llava_tui.history import columns
from llava_tui.history.store import Store
from llava_tui.history.turns import Turn
from tests.fakes.fake_picture import fake_picture

REPLY = Reply(
    text="A cat.",
    token_ids=(5, 6),
    finish_reason="stop",
    prompt="<image> What is it?",
    prompt_tokens=70,
    cached_tokens=3,
    completion_tokens=2,
    picture_tokens=(64,),
    time_to_first_token_s=0.5,
    tokens_per_second=30.0,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path)
    yield store
    assert store.take_notices() == []
    store.close()


def talk(store: Store, chat_id: int, *texts: str, after: int | None = None) -> list[Turn]:
    """User and assistant in turn, one after the other."""
    turns: list[Turn] = []
    for number, text in enumerate(texts):
        parent = turns[-1].id if turns else after
        turns.append(store.add_turn(chat_id, parent, "assistant" if number % 2 else "user", text))
    return turns


def texts(turns: list[Turn]) -> list[str]:
    return [turn.text for turn in turns]


def test_a_chat_is_there_again_when_the_history_is_opened_again(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    chat = store.new_chat("  A cat\nor not? ")
    ref = store.keep_picture(fake_picture("cat.png", "red", (8, 6)))
    (question,) = talk(store, chat.id, "What is it?")
    answer = store.add_turn(chat.id, question.id, "assistant", "", status="streaming")
    store.finish_turn(answer.id, "A cat.", "complete", reply=REPLY)
    store.add_turn(chat.id, answer.id, "user", "And this?", pictures=[ref])
    store.close()

    store = Store.open(tmp_path)
    assert store.saved
    found = store.last_chat()
    assert found is not None
    assert (found.title, found.turns) == ("A cat or not?", 3)
    first, second, third = store.turns(found.id)
    assert (first.role, first.text, first.parent_id, first.pictures) == ("user", "What is it?", None, ())
    assert (second.role, second.text, second.status, second.parent_id) == (
        "assistant",
        "A cat.",
        "complete",
        first.id,
    )
    assert second.stats is not None
    assert (second.stats.prompt_tokens, second.stats.picture_tokens, second.stats.finish_reason) == (70, (64,), "stop")
    assert [(ref.name, ref.media_type, ref.width, ref.height) for ref in third.pictures] == [
        ("cat.png", "image/png", 8, 6)
    ]
    assert store.picture_bytes(third.pictures[0].sha256) == fake_picture("cat.png", "red", (8, 6)).data
    store.close()
    store.close()


def test_pages_go_back_along_the_branch_that_is_shown(store: Store) -> None:
    chat = store.new_chat()
    talk(store, chat.id, *(str(number) for number in range(100)))
    last = store.turns(chat.id)
    assert texts(last) == [str(number) for number in range(60, 100)]
    assert texts(store.turns(chat.id, before=last[0].id, limit=50)) == [str(number) for number in range(10, 60)]
    assert texts(store.turns(chat.id, before=last[0].id, limit=500)) == [str(number) for number in range(60)]
    first = store.turns(chat.id, limit=500)[0]
    assert store.turns(chat.id, before=first.id) == []
    assert store.turns(chat.id, limit=0) == []
    assert texts(store.path_to(last[-1].id)) == [str(number) for number in range(100)]


def test_a_sibling_begins_a_branch_and_flipping_back_finds_the_old_one_where_it_was(store: Store) -> None:
    chat = store.new_chat()
    q, a, q2, a2 = talk(store, chat.id, "q", "a", "q2", "a2")
    b = store.add_turn(chat.id, q.id, "assistant", "b")
    talk(store, chat.id, "q3", after=b.id)
    assert texts(store.turns(chat.id)) == ["q", "b", "q3"]
    assert [(turn.text, turn.version, turn.versions) for turn in store.versions(b.id)] == [("a", 1, 2), ("b", 2, 2)]

    assert store.show_branch(a.id).id == a2.id
    assert texts(store.turns(chat.id)) == ["q", "a", "q2", "a2"]
    assert [(turn.version, turn.versions) for turn in store.turns(chat.id)] == [(1, 1), (1, 2), (1, 1), (1, 1)]
    assert store.show_branch(b.id).text == "q3"

    assert store.show_branch(q2.id).id == a2.id  # a turn deep in another branch brings its whole branch
    assert store.show_branch(q.id).id == a2.id


def test_first_turns_have_versions_too_and_only_of_their_own_chat(store: Store) -> None:
    chat, other = store.new_chat(), store.new_chat()
    talk(store, other.id, "elsewhere")
    first, _ = talk(store, chat.id, "one", "answer")
    edited = store.add_turn(chat.id, None, "user", "two")
    assert texts(store.versions(first.id)) == ["one", "two"]
    assert (edited.version, edited.versions) == (2, 2)
    assert texts(store.turns(chat.id)) == ["two"]
    assert store.show_branch(first.id).text == "answer"


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_shown_branch_is_always_one_line_from_the_root_through_what_was_shown_last(data: st.DataObject) -> None:
    store = Store.in_memory()
    chat = store.new_chat()
    parents: dict[int, int | None] = {}
    for _ in range(data.draw(st.integers(1, 15))):
        flips = data.draw(st.booleans())
        if flips and parents:
            target = data.draw(st.sampled_from(sorted(parents)))
            store.show_branch(target)
        else:
            parent = data.draw(st.sampled_from([None, *sorted(parents)]))
            target = store.add_turn(chat.id, parent, "user", "x").id
            parents[target] = parent
        shown = [turn.id for turn in store.turns(chat.id, limit=100)]
        assert target in shown
        assert parents[shown[0]] is None
        assert [parents[turn] for turn in shown[1:]] == shown[:-1]
        assert shown[-1] not in parents.values()  # down to an end
    store.close()


def test_a_growing_answer_is_saved_as_it_is_and_not_after_its_end(store: Store) -> None:
    chat = store.new_chat()
    (question,) = talk(store, chat.id, "q")
    answer = store.add_turn(chat.id, question.id, "assistant", "", status="streaming")
    store.update_turn_text(answer.id, "half of")
    assert store.turns(chat.id)[-1].text == "half of"
    store.finish_turn(answer.id, "half of it", "cancelled")
    store.update_turn_text(answer.id, "late")
    kept = store.turns(chat.id)[-1]
    assert (kept.text, kept.status, kept.stats) == ("half of it", "cancelled", None)


def test_it_is_known_who_answered(store: Store) -> None:
    chat = store.new_chat()
    (question,) = talk(store, chat.id, "q")
    answer = store.add_turn(chat.id, question.id, "assistant", "", status="streaming")
    reply = Reply("a", (), "stop", "", 0, 0, 1, (), 0.1, 0.0)
    told = store.finish_turn(answer.id, "a", "complete", reply=reply, model="llava at gpu1:8000")
    kept = store.turns(chat.id)[-1]
    assert told.stats == kept.stats is not None
    assert kept.stats is not None and kept.stats.model == "llava at gpu1:8000"


def test_figures_of_an_older_history_have_no_model() -> None:
    figures = {"finish_reason": "stop", "prompt_tokens": 1, "cached_tokens": 0, "completion_tokens": 1}
    figures |= {"picture_tokens": [], "time_to_first_token_s": 0.1, "tokens_per_second": 0.0}
    for model, kept in ((None, ""), ("m", "m"), (7, None)):
        stats = columns.reply_stats(json.dumps(figures if model is None else {**figures, "model": model}))
        assert (stats.model if stats else None) == kept


def test_a_failed_answer_says_why(store: Store) -> None:
    chat = store.new_chat()
    (question,) = talk(store, chat.id, "q")
    answer = store.add_turn(chat.id, question.id, "assistant", "", status="streaming")
    assert store.finish_turn(answer.id, "", "failed", error="too long").error == "too long"


def test_answers_that_nobody_writes_any_more_are_marked(store: Store) -> None:
    chat, other = store.new_chat(), store.new_chat()
    for chat_id in (chat.id, other.id):
        (question,) = talk(store, chat_id, "q")
        store.add_turn(chat_id, question.id, "assistant", "half", status="streaming")
    store.mark_interrupted(chat.id)
    assert store.turns(chat.id)[-1].status == "interrupted"
    assert store.turns(other.id)[-1].status == "streaming"


def test_the_cost_of_pictures_is_told_to_the_question_they_belong_to(store: Store) -> None:
    chat = store.new_chat()
    red, blue = store.keep_picture(fake_picture("r.png", "red")), store.keep_picture(fake_picture("b.png", "blue"))
    question = store.add_turn(chat.id, None, "user", "q", pictures=[red, blue, red])
    answer = store.add_turn(chat.id, question.id, "assistant", "", status="streaming")
    store.finish_turn(answer.id, "a", "complete", reply=Reply(**{**vars(REPLY), "picture_tokens": (9, 10, 20, 30)}))
    assert [(ref.name, ref.tokens) for ref in store.turns(chat.id)[0].pictures] == [
        ("r.png", 10),
        ("b.png", 20),
        ("r.png", 30),
    ]


def test_chats_are_listed_by_their_last_use_and_can_be_renamed(store: Store) -> None:
    first, second = store.new_chat("first"), store.new_chat("second")
    assert [chat.title for chat in store.chats()] == ["second", "first"]
    talk(store, first.id, "hello")
    store.rename(second.id, "renamed")
    assert [chat.title for chat in store.chats()] == ["first", "renamed"]
    assert [chat.title for chat in store.chats(limit=1)] == ["first"]
    assert store.chat(99) is None


def test_a_chat_can_be_deleted_with_thousands_of_turns_in_one_line(store: Store, tmp_path: Path) -> None:
    chat, other = store.new_chat(), store.new_chat()
    ours, both = store.keep_picture(fake_picture("o", "green")), store.keep_picture(fake_picture("b", "blue"))
    line = talk(store, chat.id, *(str(number) for number in range(3000)))  # SQLite's cascades give up at a thousand
    assert texts(store.path_to(line[-1].id)) == texts(line)
    store.add_turn(chat.id, store.turns(chat.id)[-1].id, "user", "with pictures", pictures=[ours, both])
    store.add_turn(other.id, None, "user", "the same", pictures=[both])
    store.delete_chat(chat.id)
    assert store.chat(chat.id) is None
    assert store.chats("pictures") == []
    assert store.picture_bytes(both.sha256) == fake_picture("b", "blue").data
    with pytest.raises(StorageError, match="is gone"):
        store.picture_bytes(ours.sha256)
    with sqlite3.connect(tmp_path / "history.sqlite3") as db:
        assert db.execute("SELECT count(*) FROM turns").fetchone() == (1,)


def test_writing_to_a_chat_that_is_gone_is_a_users_error(store: Store) -> None:
    chat = store.new_chat()
    (question,) = talk(store, chat.id, "q")
    store.delete_chat(chat.id)
    with pytest.raises(StorageError):
        store.add_turn(chat.id, question.id, "user", "more")
    with pytest.raises(StorageError):
        store.finish_turn(question.id, "", "complete")
    store.update_turn_text(question.id, "nothing happens")


def test_the_same_picture_is_kept_once_whatever_it_is_called(store: Store, tmp_path: Path) -> None:
    a, b = store.keep_picture(fake_picture("a.png")), store.keep_picture(fake_picture("b.png"))
    assert (a.sha256, a.name, b.name) == (b.sha256, "a.png", "b.png")
    files = [path for path in (tmp_path / "pictures").rglob("*") if path.is_file()]
    assert [path.name for path in files] == [a.sha256]


def test_every_folder_and_file_of_chats_is_for_this_person_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        store = Store.open(tmp_path / "home" / "share" / "data")
        store.keep_picture(fake_picture())
        store.close()
    finally:
        os.umask(before)
    made = list((tmp_path / "home").rglob("*"))
    assert sum(path.is_file() for path in made) >= 2  # the database and the picture
    for path in [tmp_path / "home", *made]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_picture_whose_file_is_gone_or_changed_is_an_error_and_attaching_it_again_heals(
    store: Store, tmp_path: Path
) -> None:
    picture = fake_picture()
    ref = store.keep_picture(picture)
    (file,) = [path for path in (tmp_path / "pictures").rglob("*") if path.is_file()]
    file.write_bytes(b"something else")
    with pytest.raises(StorageError):
        store.picture_bytes(ref.sha256)
    store.keep_picture(picture)
    assert store.picture_bytes(ref.sha256) == picture.data
    file.unlink()
    with pytest.raises(StorageError):
        store.picture_bytes(ref.sha256)
    with pytest.raises(StorageError):
        store.picture_bytes("../../etc/passwd")


def test_two_threads_and_a_second_program_write_without_losing_anything(store: Store, tmp_path: Path) -> None:
    other_program = Store.open(tmp_path)
    chats = [store.new_chat(str(number)) for number in range(4)]
    failures: list[BaseException] = []

    def write(which: Store, chat_id: int) -> None:
        try:
            parent = None
            for number in range(50):
                parent = which.add_turn(chat_id, parent, "user", str(number)).id
                which.turns(chat_id)
        except BaseException as error:
            failures.append(error)

    writers = [
        threading.Thread(target=write, args=(which, chat.id))
        for which, chat in zip((store, store, other_program, other_program), chats, strict=True)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    for chat in chats:
        assert texts(store.turns(chat.id, limit=100)) == [str(number) for number in range(50)]
    assert other_program.saved
    other_program.close()


def test_a_chat_set_aside_is_in_no_list_and_gone_when_the_store_closes(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    kept, doomed = store.new_chat("kept"), store.new_chat("doomed")
    for chat in (kept, doomed):
        store.add_turn(chat.id, None, "user", f"words of the {chat.title} one")
    store.set_aside(doomed.id)
    assert [chat.id for chat in store.chats()] == [chat.id for chat in store.chats("words")] == [kept.id]
    last = store.last_chat()
    assert last is not None and last.id == kept.id
    back = store.bring_back()
    assert back is not None and back.id == doomed.id and store.bring_back() is None
    assert len(store.chats()) == 2
    store.set_aside(doomed.id)
    killed = Store.open(tmp_path)  # as after a kill: nothing was deleted yet
    assert len(killed.chats()) == 2
    killed.close()
    store.close()
    again = Store.open(tmp_path)
    assert [chat.title for chat in again.chats()] == ["kept"]
    again.close()
