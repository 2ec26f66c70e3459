"""The prompt: which keys send, break a line, leaf through what was said, and take pictures out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.message import Message

from llava_tui.widgets import messages
from llava_tui.widgets.prompt import Prompt, PromptText


class Desk(App[None]):
    """A prompt, and what it told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Message] = []

    def compose(self) -> ComposeResult:
        yield Prompt()

    def on_message_sent(self, event: messages.MessageSent) -> None:
        self.told.append(event)

    def on_text_pasted(self, event: messages.TextPasted) -> None:
        self.told.append(event)

    def on_chip_removed(self, event: messages.ChipRemoved) -> None:
        self.told.append(event)

    def on_help_wanted(self, event: messages.HelpWanted) -> None:
        self.told.append(event)

    def on_clipboard_wanted(self, event: messages.ClipboardWanted) -> None:
        self.told.append(event)


async def after(*keys: str, remembered: Sequence[str] = ()) -> tuple[str, list[Message], int]:
    """The text, what was told, and the rows of the text after these keys."""
    app = Desk()
    async with app.run_test(size=(60, 20)) as pilot:
        area = app.query_one(PromptText)
        area.remember(list(remembered))
        area.focus()
        await pilot.press(*keys)
        await pilot.pause()
        return area.text, app.told, area.size.height


async def test_enter_sends() -> None:
    text, told, _ = await after("h", "i", "enter")
    assert isinstance(told[0], messages.MessageSent)
    assert told[0].text == "hi"
    assert text == "hi"  # it stays until the screen has taken it


@pytest.mark.parametrize("key", ["shift+enter", "ctrl+j"])
async def test_a_line_break_does_not_send(key: str) -> None:
    text, told, rows = await after("a", key, "b")
    assert (text, told, rows) == ("a\nb", [], 2)


async def test_it_grows_and_stops_growing() -> None:
    _, _, rows = await after(*["x", "ctrl+j"] * 20)
    assert rows == 8


async def test_up_and_down_leaf_through_what_was_said() -> None:
    said = ["first", "second"]
    assert (await after("d", "up", remembered=said))[0] == "second"
    assert (await after("d", "up", "up", remembered=said))[0] == "first"
    assert (await after("d", "up", "up", "up", remembered=said))[0] == "first"
    assert (await after("d", "up", "up", "down", remembered=said))[0] == "second"
    assert (await after("d", "up", "up", "down", "down", remembered=said))[0] == "d"


async def test_inside_a_text_of_several_lines_they_move_the_cursor() -> None:
    text, _, _ = await after("a", "ctrl+j", "b", "up", "x", remembered=["said"])
    assert text == "ax\nb"


async def test_backspace_at_the_very_start_takes_a_picture_out() -> None:
    _, told, _ = await after("backspace")
    assert [type(message) for message in told] == [messages.ChipRemoved]


async def test_backspace_in_a_text_takes_a_letter_out() -> None:
    assert (await after("a", "b", "backspace"))[:2] == ("a", [])


async def test_a_question_mark_alone_asks_for_help() -> None:
    text, told, _ = await after("question_mark")
    assert text == ""
    assert [type(message) for message in told] == [messages.HelpWanted]


async def test_a_question_mark_after_words_is_one() -> None:
    assert (await after("a", "question_mark"))[:2] == ("a?", [])


async def test_tab_completes_a_command() -> None:
    assert (await after("slash", "h", "i", "tab"))[0] == "/history "


async def test_enter_completes_a_command_and_sends_one_that_takes_nothing() -> None:
    _, told, _ = await after("slash", "n", "e", "enter")
    assert isinstance(told[0], messages.MessageSent)
    assert told[0].text == "/new"


async def test_what_is_pasted_is_asked_about_before_it_stands_there() -> None:
    app = Desk()
    async with app.run_test() as pilot:
        area = app.query_one(PromptText)
        area.focus()
        area.post_message(events.Paste("'/tmp/a b.png'"))
        await pilot.pause()
        assert isinstance(app.told[0], messages.TextPasted)
        assert app.told[0].text == "'/tmp/a b.png'"
        assert area.text == ""


async def test_the_paste_key_wants_the_clipboard() -> None:
    _, told, _ = await after("ctrl+v")
    assert [type(message) for message in told] == [messages.ClipboardWanted]
