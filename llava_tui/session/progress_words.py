"""How far an answer is before its first word -> the words that say so."""

from __future__ import annotations

from llava_engine.contract import Progress
from llava_engine.terminal_safe import SafeText, one_line

QUIET_S = 0.3
"""Seconds before an answer that has not begun says why: what is over sooner would only flicker."""


def progress_words(progress: Progress) -> SafeText:
    """What goes on, and how much of it is done where that is known."""
    done, total = progress.done, progress.total
    match progress.stage:
        case "waiting" if total:
            return one_line(f"{done:,} before you" if done else "you are next")
        case "waiting":
            return SafeText("waiting for an answer")
        case "seeing" if total > 1:
            return one_line(f"looking at picture {min(done + 1, total):,} of {total:,}")
        case "seeing":
            return SafeText("looking at the picture")
        case _:
            return one_line(f"reading {done:,} of {total:,}" if total else "reading")
