"""What stands on the screen, or comes out of the pipe, when an answer was spoken."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from llava_engine.contract import ModelCard, Reply
from llava_tui.commands.answer_output import JsonOutput, MarkdownOutput, PlainOutput, whole_blocks

CARD = ModelCard("tiny", Path("tiny"), "llava_v1", "cpu", "float32", "plain", 2048, 64, 3_000_000, 12_000_000, True)
REPLY = Reply("A cat.", (5, 6), "stop", "USER: <image>\nWhat? ASSISTANT:", 80, 0, 2, (), 0.25, 40.0)


class Screen:
    """What a terminal shows after the little that rich's live display sends: text, CR, LF, cursor up, erase line."""

    def __init__(self) -> None:
        self._lines = [""]
        self._row = self._column = 0

    def feed(self, text: str) -> None:
        for sequence, plain in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z])|([^\x1b])", text):
            if sequence.endswith("A"):
                self._row = max(0, self._row - int(sequence[2:-1] or 1))
            elif sequence.endswith("K"):
                self._lines[self._row] = ""
            elif plain == "\r":
                self._column = 0
            elif plain == "\n":
                self._row, self._column = self._row + 1, 0
                self._lines += [""] * (self._row + 1 - len(self._lines))
            elif plain:
                line = self._lines[self._row].ljust(self._column)
                self._lines[self._row] = line[: self._column] + plain + line[self._column + 1 :]
                self._column += 1

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._lines).strip("\n")


def on_terminal(pieces: list[str]) -> tuple[str, str]:
    """The bytes that are sent to a terminal of 40 columns, and what stands on it at last."""
    sent = io.StringIO()
    console = Console(file=sent, force_terminal=True, width=40, height=10, color_system="truecolor")
    with MarkdownOutput(console) as output:
        for piece in pieces:
            output.feed(piece)
        output.finish(REPLY, [])
    screen = Screen()
    screen.feed(sent.getvalue())
    return sent.getvalue(), screen.text


def test_markdown_is_rendered_and_each_block_stands_there_once() -> None:
    _, shown = on_terminal(["Two **red** ", "circles.\n\n", "- one\n- two\n", "\nAnd `code`."])
    assert shown == "Two red circles.\n\n • one\n • two\n\nAnd code."


def test_a_fence_stays_whole() -> None:
    _, shown = on_terminal(["```\na\n", "\nb\n```\n\nDone."])
    assert [line.strip() for line in shown.splitlines() if line.strip()] == ["a", "b", "Done."]


def test_an_answer_longer_than_the_screen_is_there_in_full() -> None:
    words = [f"word{number} " for number in range(300)]
    _, shown = on_terminal(words)
    assert shown.split() == "".join(words).split()


def test_what_was_said_before_an_interrupt_stays() -> None:
    sent = io.StringIO()
    with (
        pytest.raises(KeyboardInterrupt),
        MarkdownOutput(Console(file=sent, force_terminal=True, width=40, height=10)) as output,
    ):
        output.feed("Half an ans")
        raise KeyboardInterrupt
    screen = Screen()
    screen.feed(sent.getvalue())
    assert screen.text == "Half an ans"


def test_a_model_can_not_command_the_terminal() -> None:
    sent, shown = on_terminal(["\x1b]0;owned\x07He", "llo \x1b[", "31mred\x1b[2J [bold]kept[/bold]"])
    assert "owned" not in sent
    assert "\x1b[2J" not in sent
    assert shown == "Hello red [bold]kept[/bold]"


def test_in_a_pipe_there_is_the_answer_and_a_line_end() -> None:
    stream = io.StringIO()
    with PlainOutput(stream) as output:
        for piece in ["A ", "\x1b[1", "mcat", "."]:
            output.feed(piece)
        output.finish(REPLY, [])
    assert stream.getvalue() == "A cat.\n"


def test_an_empty_answer_is_an_empty_line() -> None:
    stream = io.StringIO()
    with PlainOutput(stream) as output:
        output.finish(REPLY, [])
    assert stream.getvalue() == "\n"


def test_json_is_one_object_with_all_promised_keys() -> None:
    stream = io.StringIO()
    with JsonOutput(stream, CARD) as output:
        output.feed("A cat.")
        output.finish(REPLY, [])
    assert json.loads(stream.getvalue()) == {
        "answer": "A cat.",
        "model": "tiny",
        "where": None,
        "template": "llava_v1",
        "prompt": "USER: <image>\nWhat? ASSISTANT:",
        "prompt_tokens": 80,
        "cached_tokens": 0,
        "completion_tokens": 2,
        "token_ids": [5, 6],
        "finish_reason": "stop",
        "time_to_first_token_s": 0.25,
        "tokens_per_second": 40.0,
        "images": [],
    }


def test_json_never_carries_a_control_character() -> None:
    stream = io.StringIO()
    with JsonOutput(stream, CARD) as output:
        output.finish(Reply("\x1b[2J\x9b1m", (1,), "stop", "", 1, 0, 1, (), 0.1, 0.0), [])
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", stream.getvalue())


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("One", ""),
        ("One\n\n", ""),
        ("One\n\nT", "One\n\n"),
        ("One\n\nTwo\n\nT", "One\n\nTwo\n\n"),
        ("- a\n\n  more of a\n\nT", "- a\n\n  more of a\n\n"),
        ("- a\n\n  more of a", ""),
        ("```\na\n\nb", ""),
        ("```py\na\n\n```\n\nT", "```py\na\n\n```\n\n"),
        ("````\n```\n\nb", ""),
        ("~~~\na\n\n```\n\nb", ""),
    ],
)
def test_a_block_is_whole_when_nothing_to_come_can_change_it(text: str, whole: str) -> None:
    assert text[: whole_blocks(text)] == whole


@given(st.text(alphabet="ab `~-\n", max_size=60))
def test_more_text_never_takes_a_whole_block_back(text: str) -> None:
    ends = [whole_blocks(text[:length]) for length in range(len(text) + 1)]
    assert ends == sorted(ends)
