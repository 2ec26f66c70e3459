"""Earlier chats: found by their words, resumed where they ended, deleted after a second press."""

from __future__ import annotations

import pytest
from textual.widgets import OptionList

from llava_tui.history.store import Store
from llava_tui.screens.history import HistoryScreen, SearchWords, ago
from tests.fakes.fake_engine import FakeEngine
from tests.llava_tui.stage import Person, Stage


def kept(*chats: tuple[str, str]) -> Store:
    """A store with chats of one question and one answer, the oldest first."""
    store = Store.in_memory()
    for question, answer in chats:
        chat = store.new_chat(question)
        asked = store.add_turn(chat.id, None, "user", question)
        store.add_turn(chat.id, asked.id, "assistant", answer)
    return store


FRUIT = ("What is the fruit?", "It is a red apple.")
BOAT = ("Where is the boat?", "It is on the [blue] sea.")


async def titles(me: Person) -> list[str]:
    options = me.stage.app.screen.query_one(OptionList)
    await me.pilot.pause()
    prompts = [str(options.get_option_at_index(index).prompt) for index in range(options.option_count)]
    return [prompt.split("  ")[0] for prompt in prompts]


async def test_the_newest_comes_first_and_enter_resumes_it() -> None:
    stage = Stage(store=kept(FRUIT, BOAT))
    async with stage.open() as me:
        await me.press("ctrl+l")
        assert sorted(await titles(me)) == [FRUIT[0], BOAT[0]]
        first = (await titles(me))[0]
        await me.press("enter")
        await me.until(me.is_back)
        await me.sees(first)
        await me.sees("It is ")


async def test_words_find_what_was_said() -> None:
    stage = Stage(store=kept(FRUIT, BOAT))
    async with stage.open() as me:
        await me.press("ctrl+l")
        await me.types("sea")
        assert await titles(me) == [BOAT[0]]
        await me.sees("on the [blue] sea")
        await me.press("enter")
        await me.sees("It is on the [blue] sea.")


async def test_nothing_found_says_so() -> None:
    stage = Stage(store=kept(FRUIT))
    async with stage.open() as me:
        await me.press("ctrl+l")
        await me.types("zebra")
        await me.sees("Nothing found")


async def test_no_chats_says_so() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.press("ctrl+l")
        await me.sees("No chats yet")
        await me.press("escape")
        assert me.is_back()


async def test_a_chat_is_deleted_by_the_second_press() -> None:
    store = kept(FRUIT, BOAT)
    stage = Stage(store=store)
    async with stage.open() as me:
        await me.press("ctrl+l")
        first = (await titles(me))[0]
        await me.press("ctrl+d")
        await me.sees("Ctrl+D again deletes it")
        assert len(await titles(me)) == 2
        await me.press("ctrl+d")
        await me.until(lambda: len(store.chats()) == 1)
        assert first not in await titles(me)


async def test_keys_that_edit_the_search_words_delete_no_chat() -> None:
    store = kept(FRUIT, BOAT)
    stage = Stage(store=store)
    async with stage.open() as me:
        await me.press("ctrl+l")
        await me.types("apple")
        for _ in range(3):
            await me.press("home", "delete", "ctrl+d")
        assert stage.app.screen.query_one(SearchWords).value == ""
        assert len(store.chats()) == 2


async def test_a_deleted_chat_is_brought_back_and_gone_after_the_program() -> None:
    store = kept(FRUIT, BOAT)
    stage = Stage(store=store)
    async with stage.open() as me:
        await me.press("ctrl+l")
        both = await titles(me)
        await me.press("ctrl+d", "ctrl+d")
        await me.press("ctrl+d", "ctrl+d")
        await me.until(lambda: len(store.chats()) == 0)
        await me.press("ctrl+z")
        assert await titles(me) == both[1:]
        await me.press("ctrl+z")
        assert await titles(me) == both
        await me.press("ctrl+z")
        assert await titles(me) == both
        await me.press("tab", "delete", "delete")  # the list has the focus
        await me.until(lambda: len(store.chats()) == 1)


async def test_moving_on_takes_the_question_back() -> None:
    store = kept(FRUIT, BOAT)
    stage = Stage(store=store)
    async with stage.open() as me:
        await me.press("ctrl+l", "ctrl+d")
        await me.press("down", "ctrl+d")
        assert len(store.chats()) == 2


async def test_the_slash_command_searches() -> None:
    stage = Stage(store=kept(FRUIT, BOAT))
    async with stage.open() as me:
        await me.says("/history apple")
        await me.until(lambda: isinstance(stage.app.screen, HistoryScreen))
        assert await titles(me) == [FRUIT[0]]


async def test_going_on_with_the_last_chat() -> None:
    engine = FakeEngine(("Yes, it is.",))
    stage = Stage(engine, store=kept(FRUIT), resume=True)
    async with stage.open() as me:
        await me.sees("It is a red apple.")
        await me.says("Is it ripe?")
        await me.answered(2)
        assert [message.text for message in engine.conversations[0].messages] == [*FRUIT, "Is it ripe?"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7200, "2 hours ago"),
        (90_000, "1 day ago"),
        (-5, "just now"),
    ],
)
def test_how_long_ago(seconds: float, words: str) -> None:
    assert ago(seconds) == words
