"""Terminal control in text from outside: none of it passes, and the words do."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava_engine.terminal_safe import ControlStripper, strip_control

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
        ("a\rb\x08c\x7fd\x00e", "abcde"),
        ("two\r\nlines\tx", "two\nlines\tx"),
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("a\ud83d", "a\ufffd"),
        ("\x1b[31", ""),
        ("\x1b]never ended\nnext line", "\nnext line"),
        ("👩‍👧 שלום", "👩‍👧 שלום"),
    ],
)
def test_known_sequences(text: str, left: str) -> None:
    assert strip_control(text) == left
