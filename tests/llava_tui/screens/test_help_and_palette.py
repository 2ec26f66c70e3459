"""What can be done, found by those who do not know it yet: help, palette, hints, slash words, colours."""

from __future__ import annotations

import pytest

from llava_tui.screens.command_table import COMMANDS
from llava_tui.screens.help import HelpScreen
from llava_tui.themes import EMBER
from tests.fakes.fake_engine import FakeEngine
from tests.llava_tui.stage import Stage


@pytest.mark.parametrize("key", ["f1", "question_mark"])
async def test_help_shows_every_command(key: str) -> None:
    stage = Stage()
    async with stage.open(size=(120, 60)) as me:
        await me.press(key)
        assert isinstance(stage.app.screen, HelpScreen)
        await me.sees("Anywhere")
        seen = me.seen()
        assert [command.title for command in COMMANDS if command.title not in seen] == []
        assert [command.slash for command in COMMANDS if command.slash and f"/{command.slash}" not in seen] == []
        await me.press("escape")
        assert me.is_back()


async def test_the_palette_does_what_it_lists() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.says("What is it?")
        await me.answered()
        await me.press("ctrl+p")
        await me.types("new chat")
        await me.sees("Ctrl+N")
        await me.press("enter")
        await me.until(lambda: not me.screen.transcript.turns)


async def test_a_begun_command_shows_what_it_may_become() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.types("/re")
        await me.sees("/regenerate")
        await me.sees("/rename TITLE")
        assert "/history" not in me.seen()


async def test_a_mistyped_command_is_no_message() -> None:
    engine = FakeEngine(("yes",))
    stage = Stage(engine)
    async with stage.open() as me:
        for words in ("/hlep", "/Renmae "):
            me.prompt.write(words)
            await me.press("enter")
            await me.sees(f"no command {words.strip()}")
            assert me.prompt.text == words
        assert not me.screen.transcript.turns
        me.prompt.write("/etc/hosts is a file, is it?")  # words that only begin so are a message
        await me.press("enter")
        await me.answered()
    assert len(engine.conversations) == 1


async def test_the_hints_say_what_the_keys_do_here() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.until(lambda: "Enter send" in me.hint)
        await me.says("What is it?")
        await me.answered()
        await me.press("shift+tab")
        await me.until(lambda: "y copy" in me.hint)
        await me.press("escape")
        await me.until(lambda: "Enter send" in me.hint)


async def test_the_colours_can_be_changed_by_name() -> None:
    stage = Stage()
    async with stage.open() as me:
        assert stage.app.theme == EMBER.name
        await me.says("/theme nord")
        await me.until(lambda: stage.app.theme == "nord")
        await me.says("/theme nothing")
        await me.sees("There is no theme 'nothing'.")


async def test_an_answer_is_copied_and_it_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    from llava_tui.screens import chat_screen
    from llava_tui.terminal.clipboard import Copied

    copied: list[str] = []

    def copy(text: str, env: object, write: object) -> Copied:
        copied.append(text)
        return Copied(len(text), "wl-copy", True)

    monkeypatch.setattr(chat_screen, "copy_text", copy)
    stage = Stage()
    async with stage.open() as me:
        await me.says("What colour?")
        await me.answered()
        await me.says("/copy")
        await me.sees("Copied 10 characters with wl-copy.")
        await me.press("shift+tab", "up", "y")
        await me.until(lambda: len(copied) == 2)
        assert copied == ["It is red.", "What colour?"]


async def test_without_an_answer_there_is_nothing_to_copy() -> None:
    stage = Stage()
    async with stage.open() as me:
        await me.says("/copy")
        await me.sees("There is no answer to copy yet.")
