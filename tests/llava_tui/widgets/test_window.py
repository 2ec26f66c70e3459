"""The window of mounted turns, as plain data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llava_tui.widgets.window import CAP, OPENED, STEP, Window


def test_a_chat_opens_at_its_end() -> None:
    assert Window.at_end(1000) == Window(1000 - OPENED, 1000)
    assert Window.at_end(3) == Window(0, 3)


def test_at_the_first_turn_nothing_is_earlier() -> None:
    assert Window(0, 20).earlier() == Window(0, 20)


def test_at_the_last_turn_nothing_is_later() -> None:
    assert Window(80, 100).later(100) == Window(80, 100)


@given(st.integers(0, 500), st.lists(st.booleans(), max_size=80))
def test_it_stays_small_inside_the_chat_and_moves_in_steps(total: int, steps: list[bool]) -> None:
    window = Window.at_end(total)
    for up in steps:
        before, window = window, window.earlier() if up else window.later(total)
        assert 0 <= window.first <= window.last <= total
        assert window.last - window.first <= CAP
        assert abs(window.first - before.first) <= STEP
        assert abs(window.last - before.last) <= STEP
        assert window.first <= before.last  # what was in sight before and after overlap
        assert window.last >= before.first


def test_older_turns_that_became_known_move_it_along() -> None:
    assert Window(0, 20).shifted(40) == Window(40, 60)
