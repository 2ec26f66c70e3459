"""Opening the history's SQLite file, come what may: made, migrated, set aside when broken, left alone when newer.

Knows versions and files; what the tables hold is `schema.py`, and what is done with them `store.py`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from llava_tui.history.schema import MIGRATIONS

Result = TypeVar("Result")

BUSY_TIMEOUT_S = 2.0
"""How long to wait for another llava that is just writing."""

_COMPANIONS = ("", "-wal", "-shm")
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNWRITABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class BrokenDatabaseError(Exception):
    """The file is no database of ours any more."""


class NewerDatabaseError(Exception):
    """The file was written by a newer llava."""


def is_broken(error: sqlite3.Error) -> bool:
    """Whether the file itself is damaged."""
    return _code(error) in _BROKEN


def is_disk_problem(error: sqlite3.Error) -> bool:
    """Whether the file or the disk is at fault (damaged, full, locked, read-only, …), and not a query of ours."""
    return _code(error) in _BROKEN | _UNWRITABLE


def open_database(path: Path) -> sqlite3.Connection:
    """Open the file, making or migrating it, ready to be written.

    Not all of it is looked at, which would take long: damage inside shows when it is read, see `is_broken`.

    Raises BrokenDatabaseError, NewerDatabaseError; sqlite3.OperationalError when it can not be opened or written.
    """
    db = _connect(str(path))
    try:
        version = _version(db)
        if version > len(MIGRATIONS):
            raise NewerDatabaseError(f"version {version}")
        db.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing; only a power cut may lose the last commits, and never breaks the file.
        db.execute("PRAGMA synchronous = NORMAL")
        _migrate(db)
        db.execute("SELECT id FROM chats ORDER BY updated DESC LIMIT 1").fetchone()
    except sqlite3.DatabaseError as error:
        db.close()
        if is_broken(error) or "no such table" in str(error):
            raise BrokenDatabaseError(str(error)) from error
        raise
    except BaseException:
        db.close()
        raise
    return db


def memory_database() -> sqlite3.Connection:
    """An empty database that ends with the process."""
    db = _connect(":memory:")
    _migrate(db)
    return db


def transaction(db: sqlite3.Connection, change: Callable[[sqlite3.Connection], Result]) -> Result:
    """Do `change` wholly, or not at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        result = change(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # some failures (a full disk) have rolled back by themselves
            db.execute("ROLLBACK")
        raise
    return result


def open_or_begin_anew(path: Path, *, broken: bool = False) -> tuple[sqlite3.Connection, Path | None]:
    """Open the file; a broken one (or one that is known to be) is set aside first, and where is said too.

    Raises NewerDatabaseError; OSError and sqlite3.Error when it can not be written.
    """
    if not broken:
        try:
            return open_database(path), None
        except BrokenDatabaseError:
            pass
    aside = set_aside(path)
    return open_database(path), aside


def set_aside(path: Path) -> Path:
    """Rename a database, and what belongs to it, to a free name with the time in it; the new path."""
    stamp = time.strftime("%Y-%m-%d-%H%M%S")
    aside = path.with_name(f"{path.stem}-broken-{stamp}{path.suffix}")
    number = 1
    while any(aside.with_name(aside.name + companion).exists() for companion in _COMPANIONS):
        number += 1
        aside = path.with_name(f"{path.stem}-broken-{stamp}-{number}{path.suffix}")
    for companion in _COMPANIONS:
        source = path.with_name(path.name + companion)
        if source.exists():
            source.rename(aside.with_name(aside.name + companion))
    return aside


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error of Python's own."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _connect(where: str) -> sqlite3.Connection:
    # Without isolation_level, Python would begin transactions of its own; threads are kept apart by the store's lock.
    db = sqlite3.connect(where, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA foreign_keys = ON")
    return db


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _migrate(db: sqlite3.Connection) -> None:
    """Bring it to the newest version; also proves that it can be written."""

    def steps(db: sqlite3.Connection) -> None:
        for version in range(_version(db), len(MIGRATIONS)):  # read again inside: another llava may have been quicker
            for statement in MIGRATIONS[version]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {version + 1}")

    transaction(db, steps)
