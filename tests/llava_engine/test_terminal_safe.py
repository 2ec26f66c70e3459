"""Terminal control in text from outside: none of it passes, and the words do."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava_engine.errors import PictureError
from llava_engine.terminal_safe import ControlStripper, one_line, strip_control

hostile = st.text(
    st.one_of(st.sampled_from("\x1b\x9b\x9d\x90[]P\\;m0Hab\x07\x18\n\t\r\x00\u202e\ud800é"), st.characters()),
    max_size=40,
)


@given(text=hostile)
def test_nothing_that_commands_a_terminal_passes(text: str) -> None:
    for character in strip_control(text):
        assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs")
        assert unicodedata.bidirectional(character) not in (
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        )


@given(pieces=st.lists(hostile, max_size=5))
def test_pieces_give_what_the_whole_text_gives(pieces: list[str]) -> None:
    stripper = ControlStripper()
    assert "".join(map(stripper.push, pieces)) == strip_control("".join(pieces))


@given(text=st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf"], include_characters="\n\t\u200d")))
def test_ordinary_text_passes_untouched(text: str) -> None:
    assert strip_control(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Htop", "top"),
        ("\x1b[?1049hx", "x"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://a.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;ZXZpbA==\x1b\\x", "x"),
        ("\x9d0;title\x9cx", "x"),
        ("\x1bPq#0;2;0;0;0\x1b\\x", "x"),
        ("\x1b_Gf=100;AAAA\x1b\\x", "x"),
        ("\x1bcx", "x"),
        ("\x1b(0x", "x"),
        ("\x1b7x\x1b8", "x"),
        ("a\x1b\x1b[31mb", "ab"),
        ("a\x0bb\x08c\x7fd\x00e", "abcde"),
        ("two\r\nlines\tx", "two\nlines\tx"),
        ("of an\rold\r\rmac\r\n", "of an\nold\n\nmac\n"),
        ("in\x1b[3\ride", "in\nide"),
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("a\ud83d", "a\ufffd"),
        ("\x1b[31", ""),
        ("\x1b]never ended\nnext line", "\nnext line"),
        ("👩‍👧 שלום", "👩‍👧 שלום"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("(\u200f\u05e2\u200e) \u061c1", "(\u200f\u05e2\u200e) \u061c1"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f", "\U0001f3f4\U000e0067\U000e0062\U000e007f"),
        ("pay\u200bpal \ufeffx\u2060y\u180ez\u206f", "paypal xyz"),
    ],
)
def test_known_sequences(text: str, left: str) -> None:
    assert strip_control(text) == left


def test_a_name_is_one_line() -> None:
    assert one_line(" a\x1b]0;title\x07 photo\r\n\tof\u2028mine.png ") == "a photo of mine.png"


def test_an_error_is_stripped_where_it_is_made() -> None:
    error = PictureError("\x1b]52;c;ZXZpbA==\x07cat\u202egnp.exe\x9b2J is no picture.", "Use\x1b[8m another.")

    assert (error.cause, error.remedy) == ("catgnp.exe is no picture.", "Use another.")
    assert str(error) == "catgnp.exe is no picture.\nUse another."
