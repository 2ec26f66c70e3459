"""Stop strings in streams: compared with looking at the whole text at once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava_engine.conversation.stopping import StopMatcher

stops = st.lists(st.text("ab#", min_size=1, max_size=4), max_size=3)
text = st.text("ab# ", max_size=30)


@st.composite
def chunked(draw: st.DrawFn) -> list[str]:
    whole = draw(text)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    edges = [0, *cuts, len(whole)]
    return [whole[start:end] for start, end in pairwise(edges)]


def whole_answer(whole: str, stops: list[str], before: str = "") -> tuple[str, str | None]:
    """The definition: the first moment at which some stop string stands at the text's end."""
    start, whole = len(before), before + whole
    for end in range(start + 1, len(whole) + 1):
        done = [stop for stop in stops if whole[:end].endswith(stop)]
        if done:
            longest = max(done, key=len)
            return whole[start : max(start, end - len(longest))], longest
    return whole[start:], None


@given(pieces=chunked(), stops=stops, before=text)
def test_a_stop_may_begin_before_the_text_and_none_that_ended_there_counts(
    pieces: list[str], stops: list[str], before: str
) -> None:
    matcher = StopMatcher(stops, before)
    shown = "".join(map(matcher.push, pieces)) + matcher.flush()
    assert (shown, matcher.matched) == whole_answer("".join(pieces), stops, before)


@given(pieces=chunked(), stops=stops)
def test_pieces_give_what_the_whole_text_gives(pieces: list[str], stops: list[str]) -> None:
    matcher = StopMatcher(stops)
    shown = "".join(map(matcher.push, pieces)) + matcher.flush()
    assert (shown, matcher.matched) == whole_answer("".join(pieces), stops)


@given(pieces=chunked(), stops=stops)
def test_what_is_held_back_could_still_begin_a_stop_string_and_nothing_more(
    pieces: list[str], stops: list[str]
) -> None:
    matcher = StopMatcher(stops)
    said = shown = ""
    for piece in pieces:
        said += piece
        shown += matcher.push(piece)
        if matcher.matched is not None:
            return
        held = said[len(shown) :]
        assert said == shown + held
        assert not held or any(stop.startswith(held) for stop in stops)
        # Anything longer than what is held back would begin no stop string.
        assert not any(stop.startswith(said[start:]) for start in range(len(shown)) for stop in stops)


def test_half_a_stop_string_that_comes_to_nothing_is_shown() -> None:
    matcher = StopMatcher(["###"])
    assert [matcher.push("a#"), matcher.push("#"), matcher.push("b"), matcher.flush()] == ["a", "", "##b", ""]


def test_nothing_is_shown_after_a_match() -> None:
    matcher = StopMatcher(["###"])
    assert [matcher.push("a##"), matcher.push("#b"), matcher.push("c"), matcher.flush()] == ["a", "", "", ""]
    assert matcher.matched == "###"


@pytest.mark.parametrize("stops", [[], [""]])
def test_without_stops_everything_passes_at_once(stops: list[str]) -> None:
    assert StopMatcher(stops).push("a#") == "a#"
