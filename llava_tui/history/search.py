"""Finding chats by their words: SQLite's FTS5 for what was said, a plain match for titles.

Knows the history's tables through the `read` that it is given; it writes nothing.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from llava_tui.history import columns

Snippet = tuple[tuple[str, bool], ...]
"""(text, is it what was searched for) pieces, in order."""

_BEGIN, _END = "\x02", "\x03"
_WORDS = 12
_LATEST_HITS = 10_000  # a word said more often than this finds nothing by itself, but would make each key stroke slow


class Read(Protocol):
    """Runs a query with its values; its rows."""

    def __call__(self, query: str, *values: object) -> list[tuple[Any, ...]]: ...


def find_chats(read: Read, query: str, limit: int) -> dict[int, Snippet] | None:
    """Chats where a turn, or the title, has all words of the query, the last of them perhaps begun only.

    Returns chat id -> where it was found, the `limit` latest; None when the query has no word in it.
    """
    words = re.findall(r"\w+", query)
    if not words:
        return None
    match = " ".join(f'"{word}"' for word in words) + "*"  # quoted: no word of a user's is an operator
    latest_hits = read(
        """
        SELECT t.chat_id, max(t.id)
        FROM (SELECT rowid FROM turns_fts WHERE turns_fts MATCH ? ORDER BY rowid DESC LIMIT ?) hit
        JOIN turns t ON t.id = hit.rowid GROUP BY t.chat_id ORDER BY 2 DESC LIMIT ?
        """,
        match,
        _LATEST_HITS,
        limit,
    )
    found: dict[int, Snippet] = {}
    for chat_id, turn_id in latest_hits:
        shown = read(
            f"SELECT snippet(turns_fts, 0, char(2), char(3), '…', {_WORDS}) FROM turns_fts"
            " WHERE turns_fts MATCH ? AND rowid = ?",
            match,
            turn_id,
        )
        found[chat_id] = _pieces(columns.text(shown[0][0])) if shown else ()
    in_title = " AND ".join(["title LIKE ? ESCAPE '\\'"] * len(words))
    wanted = [f"%{word.replace('_', chr(92) + '_')}%" for word in words]
    for (chat_id,) in read(f"SELECT id FROM chats WHERE {in_title} ORDER BY updated DESC LIMIT ?", *wanted, limit):
        found.setdefault(chat_id, ())
    return found


def _pieces(marked: str) -> Snippet:
    """Cut at the marks that FTS5 was told to set."""
    pieces = []
    for part in re.split(f"({_BEGIN}[^{_END}]*{_END})", marked):
        if part:
            hit = part.startswith(_BEGIN)
            pieces.append((part.strip(_BEGIN + _END) if hit else part, hit))
    return tuple(pieces)
