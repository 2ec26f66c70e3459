"""Chats are found by the words in them, also by half of one, and the place is shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava_tui.history.store import Store


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    store = Store.in_memory()
    for title, *said in (
        ("Kitchen", "What is on the table?", "A café cup, and a red apple."),
        ("red things", "How many circles are there?", "Three."),
        ("100% sure_thing", "Is it a bird?", "No, an aeroplane."),
    ):
        chat, parent = store.new_chat(title), None
        for number, text in enumerate(said):
            parent = store.add_turn(chat.id, parent, "assistant" if number % 2 else "user", text).id
    yield store
    store.close()


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("apple", ["Kitchen"]),
        ("APP", ["Kitchen"]),  # the last word may be begun only
        ("cafe cup", ["Kitchen"]),  # accents do not matter
        ("cup apple", ["Kitchen"]),
        ("app cup", []),  # one that is not the last must be whole
        ("red", ["red things", "Kitchen"]),  # in a title, and in what was said
        ("things red", ["red things"]),
        ("sure_th", ["100% sure_thing"]),
        ("circle", ["red things"]),
        ("zebra", []),
        ("", ["100% sure_thing", "red things", "Kitchen"]),
        ("?!", ["100% sure_thing", "red things", "Kitchen"]),
        ('" OR NOT NEAR(', []),
    ],
)
def test_what_is_found(store: Store, query: str, titles: list[str]) -> None:
    assert [chat.title for chat in store.chats(query)] == titles


def test_the_place_is_shown_with_its_hits_marked(store: Store) -> None:
    (chat,) = store.chats("cup app")
    assert [text for text, hit in chat.snippet if hit] == ["cup", "apple"]
    assert "".join(text for text, _ in chat.snippet) == "A café cup, and a red apple."


def test_the_index_follows_an_edited_text() -> None:
    store = Store.in_memory()
    chat = store.new_chat()
    turn = store.add_turn(chat.id, None, "assistant", "", status="streaming")
    store.update_turn_text(turn.id, "a hippopotamus")
    store.finish_turn(turn.id, "a rhinoceros", "complete")
    assert [found.id for found in store.chats("rhino")] == [chat.id]
    assert store.chats("hippo") == []
    store.close()


@given(query=st.text(max_size=30))
def test_no_query_breaks_the_search(store: Store, query: str) -> None:
    store.chats(query)
