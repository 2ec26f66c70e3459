"""The history's rows and the values they stand for: the queries that several methods of the store share.

Knows the tables of `schema.py` and the records; it opens nothing, and begins no transaction.
"""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import asdict
from typing import Any

from llava_engine.contract import Reply
from llava_tui.history.turns import Chat, PictureRef, ReplyStats, Turn

Row = tuple[Any, ...]

UNSENT_KEPT_S = 24 * 3600.0
"""A picture that was attached and never sent is forgotten after this."""

TURN = """
    SELECT t.id, t.chat_id, t.parent_id, t.role, t.text, t.status, t.stats, t.error, t.created,
        (SELECT count(*) FROM turns s WHERE s.parent_id IS t.parent_id AND s.chat_id = t.chat_id AND s.id <= t.id),
        (SELECT count(*) FROM turns s WHERE s.parent_id IS t.parent_id AND s.chat_id = t.chat_id)
    FROM turns t
"""
UPWARDS = """  -- from a turn (first value) up its parents, so many (second value; -1 for all)
    WITH RECURSIVE branch(id, parent_id, height) AS (
        SELECT id, parent_id, 0 FROM turns WHERE id = ?
        UNION ALL
        SELECT p.id, p.parent_id, height + 1 FROM turns p JOIN branch b ON p.id = b.parent_id LIMIT ?
    )
"""
DOWNWARDS = """  -- from a turn down to where it was when it was shown last
    WITH RECURSIVE branch(id, depth) AS (
        SELECT ?, 0
        UNION ALL
        SELECT t.shown_child_id, depth + 1 FROM turns t JOIN branch b ON t.id = b.id WHERE t.shown_child_id IS NOT NULL
    )
    SELECT id FROM branch ORDER BY depth DESC LIMIT 1
"""
CHAT = """
    SELECT c.id, c.title, c.created, c.updated, (SELECT count(*) FROM turns t WHERE t.chat_id = c.id), c.leaf_id
    FROM chats c
"""


def forget_unshown(db: sqlite3.Connection, candidates: list[str]) -> list[str]:
    """Delete those of the candidates, and of the pictures long unsent, that no turn shows; their hashes."""
    unshown = "NOT EXISTS (SELECT 1 FROM turn_pictures tp WHERE tp.sha256 = pictures.sha256)"
    unsent = db.execute(
        f"SELECT sha256 FROM pictures WHERE added < ? AND {unshown}", (time.time() - UNSENT_KEPT_S,)
    ).fetchall()
    gone = []
    for sha256 in {*candidates, *(sha256 for (sha256,) in unsent)}:
        if db.execute(f"DELETE FROM pictures WHERE sha256 = ? AND {unshown}", (sha256,)).rowcount:
            gone.append(sha256)
    return gone


def note_cost(db: sqlite3.Connection, answer_id: int, picture_tokens: tuple[int, ...]) -> None:
    """Write to the pictures of the question what they cost: they are the prompt's last ones."""
    question = db.execute(
        "SELECT turn_id, position FROM turn_pictures WHERE turn_id = (SELECT parent_id FROM turns WHERE id = ?)"
        " ORDER BY position",
        (answer_id,),
    ).fetchall()
    if 0 < len(question) <= len(picture_tokens):
        db.executemany(
            "UPDATE turn_pictures SET tokens = ? WHERE turn_id = ? AND position = ?",
            [(tokens, *key) for tokens, key in zip(picture_tokens[-len(question) :], question, strict=True)],
        )


def to_chat(row: Row, snippet: tuple[tuple[str, bool], ...] = ()) -> Chat:
    """A row of `CHAT`."""
    key, title, created, updated, turns, leaf_id = row
    return Chat(key, title, created, updated, turns, leaf_id, snippet)


def to_turn(row: Row, pictures: tuple[PictureRef, ...]) -> Turn:
    """A row of `TURN`."""
    key, chat_id, parent_id, role, text, status, stats, error, created, version, versions = row
    return Turn(
        id=key,
        chat_id=chat_id,
        parent_id=parent_id,
        role=role,
        text=text,
        status=status,
        pictures=pictures,
        stats=None if stats is None else _stats(json.loads(stats)),
        error=error,
        created=created,
        version=version,
        versions=versions,
    )


def stats_json(reply: Reply) -> str:
    """What the column `stats` holds."""
    return json.dumps(asdict(ReplyStats.of(reply)))


def _stats(values: dict[str, Any]) -> ReplyStats:
    return ReplyStats(**{**values, "picture_tokens": tuple(values["picture_tokens"])})
