"""Where a growing answer may be cut, and what it needs at its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from llava_tui.widgets.segments import cut, settled

PIECES = st.sampled_from(
    [
        "Some words.\n",
        "\n",
        "```\n",
        "~~~\n",
        "- item\n",
        "1. one\n",
        "  more\n",
        "> quote\n",
        "| a | b |\n",
        "# Head\n",
    ]
)


def blocks(text: str) -> list[tuple[str, str]]:
    """What a Markdown reader makes of it, without the places in the text."""
    return [(token.type, token.content) for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text)]


@given(st.lists(PIECES, max_size=20), st.integers(0, 40))
def test_cut_in_two_it_reads_the_same(pieces: list[str], start: int) -> None:
    text = "".join(pieces)
    end = cut(text, start)
    if end is not None:
        assert end >= start
        assert blocks(text[:end]) + blocks(text[end:]) == blocks(text)


def test_it_is_cut_at_the_first_blank_line_after_enough() -> None:
    text = "one\n\ntwo\n\nthree\n"
    assert text[cut(text, 4) :] == "two\n\nthree\n"
    assert text[cut(text, 6) :] == "three\n"


@pytest.mark.parametrize(
    "text",
    [
        "one\n\n",  # the next line has not come yet
        "```\none\n\ntwo\n",  # inside a fence
        "- one\n\n  two\n",  # goes on in the item
        "- one\n\n- two\n",  # goes on in the list
        "> one\n\n> two\n",
    ],
)
def test_it_is_not_cut_where_something_goes_on(text: str) -> None:
    assert cut(text, 3) is None


def test_plain_segments_need_nothing() -> None:
    assert settled(["one *two*\n", "```\nthree\n```\n"]) == [None, None]


def test_a_definition_reaches_every_segment() -> None:
    first, second = settled(["see [this][1]\n", "more\n\n[1]: https://example.org\n"])
    assert first is not None
    assert second is not None
    assert 'href="https://example.org"' in MarkdownIt().render(first)


def test_a_fence_in_a_list_is_written_anew() -> None:
    text = "- like so\n\n  ```\n  code\n  ```\n"
    assert settled([text, "plain\n"]) == [text, None]
