"""The history's database while it is in use: what is read and written reaches the disk, or its user hears why not.

Locked by another program: what can wait is tried again until it holds. Damaged: set aside, and a new one begun with
what could be read. Full, read-only: on in memory. Safe in several threads; knows no chats and no turns.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from llava_engine.errors import StorageError
from llava_tui.history.database import (
    BUSY_TIMEOUT_S,
    FAULTS,
    BrokenDatabaseError,
    Fault,
    NewerDatabaseError,
    be_patient,
    begin_anew,
    fault_of,
    memory_database,
    open_database,
    rebuild_index,
    transaction,
)
from llava_tui.history.queries import Row
from llava_tui.history.salvage import salvage
from llava_tui.paths import make_private

Result = TypeVar("Result")
Change = Callable[[sqlite3.Connection], object]

RETRY_S = 0.5
"""How long a locked file is left alone before it is tried again."""
CLOSE_PATIENCE_S = 10.0
"""How long closing waits for another program's lock, while something is still to be saved."""


class LockedError(StorageError):
    """Another program holds the history just now; the same call may go through a moment later."""


class KeptDatabase:
    """A database file that is read, written and looked after; or, without a path, one in memory."""

    def __init__(self, path: Path | None) -> None:
        """Open the file. Never raises for a bad disk: see `take_notices`."""
        self._lock = threading.RLock()
        self._notices: list[StorageError] = []
        self._waiting: list[Change] = []
        self._locked_since: float | None = None
        self._path = path
        if path is None:
            self._db = memory_database()
            return
        try:
            make_private(path.parent)
            self._db = open_database(path)
        except NewerDatabaseError:
            self._db, self._path = memory_database(), None
            self._notices.append(
                StorageError(
                    f"The chat history in {path.parent} is of a newer llava. It is left as it is.",
                    "New chats are not kept. Update llava to go on with the old ones.",
                )
            )
        except BrokenDatabaseError:
            self._begin_anew(path)
        except (OSError, *FAULTS) as error:
            self._db, self._path = memory_database(), None
            self._notices.append(not_kept(path.parent, error))

    @property
    def on_disk(self) -> bool:
        """Whether what is written stays."""
        return self._path is not None

    def take_notices(self) -> list[StorageError]:
        """What went wrong since the last call, for the user to know. Also the time to save what had to wait."""
        with self._lock:
            self._save_waiting()
            notices, self._notices = self._notices, []
        return notices

    def tell(self, notice: StorageError) -> None:
        """Let the user know this too."""
        with self._lock:
            self._notices.append(notice)

    def close(self) -> None:
        """Save what waits, if its lock opens in time, and close the file. Closing twice is no error."""
        with self._lock:
            deadline = time.monotonic() + CLOSE_PATIENCE_S
            while self._waiting and time.monotonic() < deadline:
                self._save_waiting()
                time.sleep(0.02 if self._waiting else 0.0)
            self._db.close()

    def read(self, query: str, *values: object) -> list[Row]:
        """The rows of a query.

        Raises:
            StorageError: the file is damaged, and has been set aside; or the disk fails.
            LockedError: another program holds it.
        """
        with self._lock:
            try:
                return self._db.execute(query, values).fetchall()
            except FAULTS as error:
                fault = self._fault(error)
                if fault == "locked":
                    raise self._locked() from error
                self._recover(fault, error)
                if fault == "index":
                    return self._db.execute(query, values).fetchall()
                raise StorageError(f"The chat history can not be read ({error}).") from error

    def write(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do `change` wholly: on disk, or when the disk fails, in memory from now on.

        Raises:
            StorageError: what it belongs to is gone.
            LockedError: another program holds the file, or what was written before still waits for that.
        """
        with self._lock:
            self._save_waiting()
            if self._waiting:
                raise self._locked()
            return self._do(change)

    def write_sometime(self, change: Change) -> None:
        """Do `change` now, or where another program holds the file, as soon as it lets go; in order.

        Raises:
            StorageError: what it belongs to is gone.
        """
        with self._lock:
            self._save_waiting()
            if not self._waiting:
                try:
                    self._do(change)
                    return
                except LockedError:
                    pass
                self._notices.append(
                    StorageError(
                        "Another program holds the chat history.",
                        "What is said is kept, and saved as soon as that lets go.",
                    )
                )
            self._waiting.append(change)

    def empty_log(self) -> None:
        """Let what was deleted be gone from the log of changes too; while others read it, that is left to its close."""
        with self._lock, contextlib.suppress(sqlite3.OperationalError):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _do(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        if self._locked_since is not None and time.monotonic() - self._locked_since < RETRY_S:
            raise self._locked()
        try:
            # A screen stands still while a try waits: only the first one does, for those who soon let go.
            be_patient(self._db, BUSY_TIMEOUT_S if self._locked_since is None else 0.0)
            result = transaction(self._db, change)
        except sqlite3.IntegrityError as error:
            raise StorageError("That chat is not in the history any more.", "Open another, or a new one.") from error
        except FAULTS as error:
            fault = self._fault(error)
            if fault == "locked":
                self._locked_since = time.monotonic()
                raise self._locked() from error
            self._recover(fault, error)
        else:
            self._locked_since = None
            return result
        return self._do(change)

    def _save_waiting(self) -> None:
        while self._waiting:
            try:
                self._do(self._waiting[0])
            except LockedError:
                return
            except StorageError as error:  # its chat was deleted meanwhile
                self._notices.append(error)
            self._waiting.pop(0)

    def _fault(self, error: BaseException) -> Fault:
        """What is at fault; raises the error again when it is our own query."""
        fault = fault_of(error, self._db)
        if fault == "ours" or self._path is None:
            raise error
        return fault

    def _locked(self) -> LockedError:
        return LockedError(
            "Another program holds the chat history.", "Nothing is lost; it goes on as soon as that lets go."
        )

    def _recover(self, fault: Fault, error: BaseException) -> None:
        """Make the index again, or go on with a new file when this one is broken, and otherwise in memory."""
        path = self._path
        assert path is not None  # _fault looked
        if fault == "index":
            try:
                rebuild_index(self._db)
                return
            except FAULTS:
                fault = "broken"
        if fault == "broken":
            self._db.close()
            self._begin_anew(path)
            return
        memory = memory_database()
        salvage(self._db, memory)
        self._db.close()
        self._db, self._path = memory, None
        self._notices.append(not_kept(path.parent, error))

    def _begin_anew(self, path: Path) -> None:
        try:
            self._db, aside, chats = begin_anew(path)
        except (OSError, BrokenDatabaseError, *FAULTS) as error:
            self._db, self._path = memory_database(), None
            self._notices.append(not_kept(path.parent, error))
            return
        found = f"with the {chats} chats that could be read" if chats != 1 else "with the one chat that could be read"
        self._notices.append(
            StorageError(
                f"The chat history was damaged. It is set aside as {aside}.",
                f"A new one is begun{f', {found}' if chats else ''}.",
            )
        )


def not_kept(where: object, error: BaseException) -> StorageError:
    """The notice for what stays in memory only."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return StorageError(
        f"Chats are not kept: {where} can not be written ({reason}).",
        "Free some space or check the permissions, and start llava again. Till then, all goes on in memory.",
    )
