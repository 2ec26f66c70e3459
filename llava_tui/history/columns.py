"""Values as a database's columns hold them -> values of the type that they should have, whatever is really in there.

A flipped byte makes a number a text, a text no UTF-8, a time of day one in a million years. One such value must cost
what it says, and nothing beside it: so every column that is read goes through here.
"""

from __future__ import annotations

import json
import math
from typing import Any, get_args

from llava_engine.contract import FinishReason
from llava_tui.history.turns import ReplyStats

LATEST = 32503679999.0
"""The last second of the year 2999, which the calendar functions of every system still take."""


def decode(data: bytes) -> str:
    """What is stored as text; bytes that are no UTF-8 show as �, and what stands around them stays."""
    return data.decode("utf-8", "replace")


def text(value: object) -> str:
    """A text; of any other kind what can be read of it."""
    if isinstance(value, bytes):
        return decode(value)
    return value if isinstance(value, str) else "" if value is None else str(value)


def number(value: object, least: int = 0) -> int:
    """A whole number, at least `least`; that, when it is none."""
    return max(value, least) if isinstance(value, int) else least


def key(value: object) -> int | None:
    """The key of a row, or None."""
    return value if isinstance(value, int) else None


def moment(value: object) -> float:
    """Seconds since the epoch that a calendar can show; 0 for any other."""
    if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= LATEST:
        return 0.0
    return float(value)


def reply_stats(value: object) -> ReplyStats | None:
    """What the column `stats` holds; None for figures that can not be read: an answer is worth more than they are."""
    if value is None:
        return None
    try:
        figures = json.loads(text(value))
        stats = ReplyStats(**{**figures, "picture_tokens": tuple(figures["picture_tokens"])})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    counts: tuple[Any, ...] = (stats.prompt_tokens, stats.cached_tokens, stats.completion_tokens, *stats.picture_tokens)
    measured = (stats.time_to_first_token_s, stats.tokens_per_second)
    whole = all(type(count) is int for count in counts) and all(
        type(figure) in (int, float) and math.isfinite(figure) for figure in measured
    )
    whole = whole and isinstance(stats.model, str)
    return stats if whole and stats.finish_reason in get_args(FinishReason) else None
