"""Opening the history's SQLite file, come what may: made, migrated, set aside when broken, left alone when newer.

Also tells what is at fault when SQLite fails. Knows versions and files; what the tables hold is `schema.py`, what is
saved of a broken one `salvage.py`, and what is done with them `store.py`.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal, TypeVar

from llava_tui.history.columns import decode
from llava_tui.history.salvage import salvage
from llava_tui.history.schema import MIGRATIONS

Result = TypeVar("Result")

BUSY_TIMEOUT_S = 0.25
"""How long one try waits for another llava that is just writing (which takes it a few milliseconds, on a slow disk some
tens). A screen stands still meanwhile, so it is short, and what can wait is tried again."""
OPEN_PATIENCE_S = 5.0
"""How long opening waits for a program that has the whole file to itself, as one that makes a copy."""

FAULTS = (sqlite3.Error, UnicodeDecodeError)
"""What a database that is not as it should be may raise: Python also fails to decode SQLite's words about a damaged
schema, which quote it."""

Fault = Literal["locked", "index", "broken", "disk", "ours"]
"""Held by another program · only the index of words is damaged · the file is damaged · the disk does not take it or is
read-only · the query is wrong, and so are we."""

_COMPANIONS = ("", "-wal", "-shm")
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DISK = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


class BrokenDatabaseError(Exception):
    """The file is no database of ours any more."""


class NewerDatabaseError(Exception):
    """The file was written by a newer llava."""


def fault_of(error: BaseException, db: sqlite3.Connection) -> Fault:
    """What is at fault, when a query on `db` raised one of `FAULTS`."""
    if isinstance(error, UnicodeDecodeError):
        return "broken"
    code = int(getattr(error, "sqlite_errorcode", 0))  # 0: an error of Python's own
    primary = code & 0xFF
    if primary in _LOCKED:
        return "locked"
    if code == sqlite3.SQLITE_CORRUPT_VTAB:
        return "index"
    if primary in _BROKEN:
        return "broken"
    if code == sqlite3.SQLITE_READONLY and _may_write(db):
        return "broken"  # the file's own header says so
    if primary in _DISK:
        return "disk"
    return "ours" if _has_our_schema(db) else "broken"  # a name in a damaged schema: "no such column: rule"


def open_database(path: Path) -> sqlite3.Connection:
    """Open the file, making or migrating it, ready to be written.

    Not all of it is looked at, which would take long: damage inside shows when it is read, see `fault_of`.

    Raises BrokenDatabaseError, NewerDatabaseError; OSError, sqlite3.OperationalError when it can not be opened or
    written.
    """
    if not path.exists():
        path.touch(mode=0o600)  # SQLite would let others read it, and gives its log the same mode
    deadline = time.monotonic() + OPEN_PATIENCE_S
    while True:
        db = _connect(str(path))
        try:
            _prepare(db)
            return db
        except FAULTS as error:
            fault = fault_of(error, db)
            db.close()
            if fault == "locked" and time.monotonic() < deadline:
                continue
            if fault in ("locked", "disk"):
                raise
            # Nothing else was asked than what is asked of every file at every start: it is the file.
            raise BrokenDatabaseError(str(error)) from error
        except BaseException:
            db.close()
            raise


def _prepare(db: sqlite3.Connection) -> None:
    version = _version(db)
    if version > len(MIGRATIONS):
        raise NewerDatabaseError(f"version {version}")
    db.execute("PRAGMA journal_mode = WAL")
    # A killed process loses nothing; only a power cut may lose the last commits, and never breaks the file.
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten; a build's own default may say otherwise
    if version < len(MIGRATIONS):
        _migrate(db)
    db.execute("SELECT id FROM chats ORDER BY updated DESC LIMIT 1").fetchone()


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


def be_patient(db: sqlite3.Connection, seconds: float) -> None:
    """Let each try wait so long for another program that holds the file; a new connection waits BUSY_TIMEOUT_S."""
    db.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


def begin_anew(path: Path) -> tuple[sqlite3.Connection, Path, int]:
    """Set a broken file aside and begin a new one with what can be read of it.

    Returns: the new one, where the old one is, and how many chats were saved out of it.

    Raises OSError, BrokenDatabaseError and sqlite3.Error when it can not be written.
    """
    aside = set_aside(path)
    db = open_database(path)
    with closing(_connect(f"{aside.resolve().as_uri()}?mode=ro")) as old:
        return db, aside, salvage(old, db)


def rebuild_index(db: sqlite3.Connection) -> None:
    """Make the index of words again out of the texts. Raises sqlite3.Error."""
    db.execute("INSERT INTO turns_fts(turns_fts) VALUES ('rebuild')")


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


def _may_write(db: sqlite3.Connection) -> bool:
    files = [Path(name) for _, _, name in db.execute("PRAGMA database_list") if name]
    return all(os.access(file, os.W_OK) and os.access(file.parent, os.W_OK) for file in files)


def _has_our_schema(db: sqlite3.Connection) -> bool:
    """Whether its tables are, word for word, those that we would make."""
    ours = memory_database()
    try:
        return all(pair in _schema(db).items() for pair in _schema(ours).items())
    except FAULTS:
        return False
    finally:
        ours.close()


def _schema(db: sqlite3.Connection) -> dict[str, str]:
    # The tables behind the index of words are FTS5's own, and other versions of it may write them otherwise.
    return dict(
        db.execute(
            "SELECT name, sql FROM sqlite_master"
            " WHERE sql NOT NULL AND NOT (type = 'table' AND name GLOB 'turns_fts_*')"
        )
    )


def _connect(where: str) -> sqlite3.Connection:
    # Without isolation_level, Python would begin transactions of its own; threads are kept apart by the store's lock.
    db = sqlite3.connect(
        where, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, uri=where.startswith("file:")
    )
    db.text_factory = decode
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
