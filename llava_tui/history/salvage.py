"""What can be read of a damaged history, copied into a new one: a damaged page costs what is on it, and not all chats.

Only reads the old one, and expects it to be wrong everywhere. Knows the tables of `schema.py`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

# In the order in which the new file takes them: a row that refers to one that is not there is refused.
_TABLES = {
    "pictures": ("sha256, media_type, width, height, size, added", "sha256"),
    "chats": ("id, title, created, updated, leaf_id", "id"),
    "turns": ("id, chat_id, parent_id, shown_child_id, role, text, status, stats, error, created", "id"),
    "turn_pictures": ("turn_id, position, sha256, name, tokens", "turn_id, position"),
}


def salvage(broken: sqlite3.Connection, db: sqlite3.Connection) -> int:
    """Copy the rows of `broken` that can be read into `db`, a new and empty history; how many chats came along.

    A turn whose chat is lost stays behind; one whose parent is lost becomes the first of its chat's turns.

    Raises sqlite3.Error when `db` can not be written.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        for table, (columns, key) in _TABLES.items():
            marks = ", ".join("?" * (columns.count(",") + 1))
            for row in _rows(broken, table, columns, key):
                with contextlib.suppress(sqlite3.IntegrityError, sqlite3.DataError):
                    db.execute(f"INSERT OR IGNORE INTO {table}({columns}) VALUES ({marks})", row)
        db.execute("UPDATE turns SET parent_id = NULL WHERE parent_id NOT IN (SELECT id FROM turns)")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return int(db.execute("SELECT count(*) FROM chats").fetchone()[0])


def _rows(db: sqlite3.Connection, table: str, columns: str, key: str) -> Iterator[tuple[Any, ...]]:
    """A table's rows up to the first damage, then from its end back to the last; some come twice."""
    for direction in ("ASC", "DESC"):
        order = ", ".join(f"{part} {direction}" for part in key.split(", "))
        try:
            yield from db.execute(f"SELECT {columns} FROM {table} ORDER BY {order}")
            return
        except (sqlite3.Error, UnicodeDecodeError):
            continue
