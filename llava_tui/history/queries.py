"""The history's rows and the values they stand for: the queries that several methods of the store share.

Knows the tables of `schema.py` and the records; it opens nothing, and begins no transaction.
"""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import asdict
from typing import Any, get_args

from llava_engine.conversation.conversation import Role
from llava_tui.history import columns
from llava_tui.history.turns import Chat, PictureRef, ReplyStats, Turn, TurnStatus

Row = tuple[Any, ...]

UNSENT_KEPT_S = 24 * 3600.0
"""A picture that was attached and never sent is forgotten after this."""

TURN = """
    SELECT t.id, t.chat_id, t.parent_id, t.role, t.text, t.status, t.stats, t.error, t.created,
        (SELECT count(*) FROM turns s WHERE s.parent_id IS t.parent_id AND s.chat_id = t.chat_id AND s.id <= t.id),
        (SELECT count(*) FROM turns s WHERE s.parent_id IS t.parent_id AND s.chat_id = t.chat_id)
    FROM turns t
"""
# A parent is older than its child, so has a smaller key: a damaged one that says otherwise must not lead in a circle.
UPWARDS = """  -- from a turn (first value) up its parents, so many (second value; -1 for all)
    WITH RECURSIVE branch(id, parent_id, height) AS (
        SELECT id, parent_id, 0 FROM turns WHERE id = ?
        UNION ALL
        SELECT p.id, p.parent_id, height + 1 FROM turns p JOIN branch b ON p.id = b.parent_id
        WHERE p.id < b.id LIMIT ?
    )
"""
DOWNWARDS = """  -- from a turn down to where it was when it was shown last
    WITH RECURSIVE branch(id, depth) AS (
        SELECT ?, 0
        UNION ALL
        SELECT t.shown_child_id, depth + 1 FROM turns t JOIN branch b ON t.id = b.id
        WHERE t.shown_child_id > t.id
    )
    SELECT id FROM branch ORDER BY depth DESC LIMIT 1
"""
LEAF = """  -- the end of the branch that a chat shows; its newest turn, should that be none of its turns
    SELECT coalesce(
        (SELECT t.id FROM turns t WHERE t.id = c.leaf_id AND t.chat_id = c.id),
        (SELECT max(t.id) FROM turns t WHERE t.chat_id = c.id)
    ) FROM chats c WHERE c.id = ?
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
    return Chat(
        key,
        columns.text(title),
        columns.moment(created),
        columns.moment(updated),
        columns.number(turns),
        columns.key(leaf_id),
        snippet,
    )


def to_turn(row: Row, pictures: tuple[PictureRef, ...]) -> Turn:
    """A row of `TURN`; one of which nobody can tell who spoke or how it ended is shown as damaged."""
    key, chat_id, parent_id, role, text, status, stats, error, created, version, versions = row
    damaged = role not in get_args(Role) or status not in get_args(TurnStatus)
    return Turn(
        id=key,
        chat_id=chat_id,
        parent_id=columns.key(parent_id),
        role=role if role in get_args(Role) else "assistant",
        text=columns.text(text),
        status="failed" if damaged else status,
        pictures=pictures,
        stats=columns.reply_stats(stats),
        error="This message is damaged in the history." if damaged else columns.text(error),
        created=columns.moment(created),
        version=columns.number(version, least=1),
        versions=columns.number(versions, least=1),
    )


def to_picture(values: Row) -> PictureRef:
    """The columns of a picture: sha256, name, media_type, width, height, size, tokens."""
    sha256, name, media_type, width, height, size, tokens = values
    return PictureRef(
        columns.text(sha256),
        columns.text(name),
        columns.text(media_type),
        columns.number(width, least=1),
        columns.number(height, least=1),
        columns.number(size),
        columns.key(tokens),
    )


def stats_json(stats: ReplyStats) -> str:
    """What the column `stats` holds."""
    return json.dumps(asdict(stats))
