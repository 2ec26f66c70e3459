"""The table of commands: what it promises is there, and nothing in it collides."""

from __future__ import annotations

from collections import Counter

import pytest

from llava_tui.screens.chat_screen import ChatScreen
from llava_tui.screens.command_table import COMMANDS, Where, completions, key_name, slash
from llava_tui.widgets.prompt import PromptText
from llava_tui.widgets.turn import TurnView

PLACES: dict[Where, type] = {"chat": ChatScreen, "turn": TurnView, "prompt": PromptText}


def test_every_command_can_be_done_where_it_says() -> None:
    for command in COMMANDS:
        method = f"action_{command.action.partition('(')[0]}"
        assert callable(getattr(PLACES[command.where], method, None)), command


def test_no_key_means_two_things_in_one_place() -> None:
    for where in PLACES:
        keys = Counter(key for command in COMMANDS if command.where == where for key in command.keys)
        assert [key for key, count in keys.items() if count > 1] == []


def test_no_slash_word_means_two_things() -> None:
    words = Counter(command.slash for command in COMMANDS if command.slash)
    assert [word for word, count in words.items() if count > 1] == []


def test_keys_that_terminals_send_as_others_are_never_bound() -> None:
    bound = {key for command in COMMANDS for key in command.keys}
    assert not bound & {"ctrl+i", "ctrl+m", "ctrl+h"}  # Tab, Enter and Backspace on the wire


def test_what_a_chat_needs_has_a_word_of_its_own() -> None:
    words = {command.slash for command in COMMANDS}
    assert {"image", "new", "history", "copy", "regenerate", "help", "quit"} <= words


@pytest.mark.parametrize(
    ("text", "action", "argument"),
    [
        ("/new", "new", ""),
        ("/IMAGE  a b.png ", "attach", "a b.png"),
        ("/image", "attach", ""),
    ],
)
def test_a_slash_command_is_its_word_and_the_rest(text: str, action: str, argument: str) -> None:
    found = slash(text)
    assert found is not None
    assert (found[0].action, found[1]) == (action, argument)


@pytest.mark.parametrize("text", ["new", "/nothing", "/", "/usr/share/a.png", " /new"])
def test_other_text_is_no_command(text: str) -> None:
    assert slash(text) is None


def test_a_begun_word_offers_what_it_may_become() -> None:
    assert [command.slash for command in completions("/re")] == ["regenerate", "rename"]
    assert completions("/image x") == []
    assert completions("re") == []


@pytest.mark.parametrize(
    ("key", "name"), [("ctrl+o", "Ctrl+O"), ("shift+enter", "Shift+Enter"), ("f1", "F1"), ("y", "y"), ("left", "←")]
)
def test_keys_read_as_people_write_them(key: str, name: str) -> None:
    assert key_name(key) == name
