"""Where a growing Markdown text may be cut, and what it needs when it is whole. Plain text; knows no widget.

Appending to one ever longer Markdown widget gets slower and slower, so a long answer is cut at a blank line where no
fence, list, quote or table goes on. Two things can not be right while a text still grows: a link that is defined
further down, and a fence inside a list; `settled` says how the segments should read at the end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LONG = 3000
"""Characters after which a segment ends at the next cut; about 800 tokens."""

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_PLAIN_START = re.compile(r"(?:#{1,6} )|(?:[^\W\d_])|(?:[*_]{1,2}\w)|(?:`{3,}|~{3,})")
_DEFINITION = re.compile(r"^ {0,3}\[[^\]\n]+\]:[ \t]*\S.*$", re.MULTILINE)
_LIST_FENCE = re.compile(r"^(?:\s+|\s*(?:[-*+]|\d+[.)])\s+)(?:`{3,}|~{3,})", re.MULTILINE)


def cut(text: str, start: int = LONG) -> int | None:
    """The first place at or after `start` where a new segment may begin, or None when there is none yet.

    A place counts only when the line that begins there is a plain one (a word, a heading, a fence) after a blank
    line, outside every fence, and its first character has arrived.
    """
    fence: str | None = None
    blank = False
    offset = 0
    for line in text.splitlines(keepends=True):
        if fence is None and blank and offset >= start and _PLAIN_START.match(line):
            return offset
        found = _FENCE.match(line)
        if found and fence is None:
            if not (found[1][0] == "`" and "`" in found[2]):
                fence = found[1]
        elif found and fence and found[1].startswith(fence) and not found[2].strip():
            fence = None
        blank = not line.strip()
        offset += len(line)
    return None


def settled(segments: Sequence[str]) -> list[str | None]:
    """For each segment of a finished answer: how it must be written anew, or None when it is right as it stands."""
    definitions = "\n".join(match.group() for segment in segments for match in _DEFINITION.finditer(segment))
    if definitions:
        return [f"{segment}\n\n{definitions}\n" for segment in segments]
    return [segment if _LIST_FENCE.search(segment) else None for segment in segments]
