"""Chats on disk: SQLite for turns, files named by hash for pictures. What is written is kept when its method returns.

A chat's turns are a tree: regenerating or editing adds a sibling, and the branch shown last is remembered. When the
disk fails (read-only, full, another program's newer format), everything goes on in memory and `take_notices` says why.
Safe to call from several threads. It knows no engine and no screen.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from llava_engine.contract import Reply
from llava_engine.conversation.conversation import Role
from llava_engine.errors import StorageError
from llava_engine.pictures.opening import Picture
from llava_tui.history.blobs import Blobs
from llava_tui.history.database import (
    BrokenDatabaseError,
    NewerDatabaseError,
    is_broken,
    is_disk_problem,
    memory_database,
    open_or_begin_anew,
    transaction,
)
from llava_tui.history.queries import (
    CHAT,
    DOWNWARDS,
    TURN,
    UPWARDS,
    Row,
    forget_unshown,
    note_cost,
    stats_json,
    to_chat,
    to_turn,
)
from llava_tui.history.search import find_chats
from llava_tui.history.turns import Chat, PictureRef, Turn, TurnStatus

Result = TypeVar("Result")

AT_ONCE = 500
"""Turns that are read in one go: the engine's thread reads whole chats, and a screen must not wait for that."""


class Store:
    """The history of all chats. Make one with `Store.open(folder)` or `Store.in_memory()`."""

    def __init__(self, db: sqlite3.Connection, blobs: Blobs, path: Path | None, notices: list[StorageError]) -> None:
        self._db = db
        self._blobs = blobs
        self._path = path  # None: in memory
        self._notices = notices
        self._lock = threading.RLock()

    @classmethod
    def open(cls, folder: Path) -> Store:
        """The history in `folder`, made when it is not there. Never raises for a bad disk: see `take_notices`.

        A broken database is renamed with the date and a new one begun; a newer one is left as it is.
        """
        path = folder / "history.sqlite3"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            db, aside = open_or_begin_anew(path)
        except NewerDatabaseError:
            notice = StorageError(
                f"The chat history in {folder} is of a newer llava. It is left as it is.",
                "New chats are not kept. Update llava to go on with the old ones.",
            )
            return cls(memory_database(), Blobs(None), None, [notice])
        except (OSError, sqlite3.Error, BrokenDatabaseError) as error:
            return cls(memory_database(), Blobs(None), None, [_not_kept(folder, error)])
        store = cls(db, Blobs(folder / "pictures"), path, [] if aside is None else [_set_aside(aside)])
        store._forget_unsent()
        return store

    @classmethod
    def in_memory(cls) -> Store:
        """A history that ends with the process."""
        return cls(memory_database(), Blobs(None), None, [])

    def close(self) -> None:
        """Close the files. Closing twice is no error."""
        with self._lock:
            self._db.close()

    @property
    def saved(self) -> bool:
        """Whether what is written stays on disk."""
        return self._path is not None

    def take_notices(self) -> list[StorageError]:
        """What went wrong since the last call, for the user to know."""
        with self._lock:
            notices, self._notices = self._notices, []
        return notices

    # Chats

    def new_chat(self, title: str = "") -> Chat:
        """A chat without turns."""
        now = time.time()

        def change(db: sqlite3.Connection) -> int:
            cursor = db.execute(
                "INSERT INTO chats(title, created, updated) VALUES (?, ?, ?)", (_one_line(title), now, now)
            )
            return int(cursor.lastrowid or 0)

        return Chat(self._write(change), _one_line(title), now, now, 0, None)

    def chat(self, chat_id: int) -> Chat | None:
        """A chat by its key; None when there is none."""
        rows = self._read(CHAT + "WHERE c.id = ?", chat_id)
        return to_chat(rows[0]) if rows else None

    def chats(self, query: str = "", limit: int = 200) -> list[Chat]:
        """The newest first. With a query, those where a turn or the title has all its words (the last may be begun
        only), each with a snippet."""
        snippets = find_chats(self._read, query, limit)
        if snippets is None:
            return [to_chat(row) for row in self._read(CHAT + "ORDER BY c.updated DESC, c.id DESC LIMIT ?", limit)]
        chats = [to_chat(self._read(CHAT + "WHERE c.id = ?", key)[0], snippet) for key, snippet in snippets.items()]
        return sorted(chats, key=lambda chat: (chat.updated, chat.id), reverse=True)[:limit]

    def last_chat(self) -> Chat | None:
        """The chat that was used last."""
        return next(iter(self.chats(limit=1)), None)

    def rename(self, chat_id: int, title: str) -> None:
        """Give a chat a title."""
        self._write(lambda db: db.execute("UPDATE chats SET title = ? WHERE id = ?", (_one_line(title), chat_id)))

    def delete_chat(self, chat_id: int) -> None:
        """Delete a chat with its turns, and the pictures that no other chat shows."""

        def change(db: sqlite3.Connection) -> list[str]:
            shown = db.execute(
                "SELECT DISTINCT sha256 FROM turn_pictures JOIN turns ON turns.id = turn_id WHERE chat_id = ?",
                (chat_id,),
            ).fetchall()
            db.execute("DELETE FROM turns WHERE chat_id = ?", (chat_id,))
            db.execute("DELETE FROM chats WHERE id = ?", (chat_id,))
            return forget_unshown(db, [sha256 for (sha256,) in shown])

        for sha256 in self._write(change):
            self._blobs.remove(sha256)

    # Turns

    def add_turn(
        self,
        chat_id: int,
        parent_id: int | None,
        role: Role,
        text: str,
        *,
        pictures: Sequence[PictureRef] = (),
        status: TurnStatus = "complete",
    ) -> Turn:
        """Add a turn after `parent_id`; it is then the end of the branch that is shown."""
        now = time.time()

        def change(db: sqlite3.Connection) -> int:
            cursor = db.execute(
                "INSERT INTO turns(chat_id, parent_id, role, text, status, created) VALUES (?, ?, ?, ?, ?, ?)",
                (chat_id, parent_id, role, text, status, now),
            )
            turn_id = int(cursor.lastrowid or 0)
            db.executemany(
                "INSERT INTO turn_pictures(turn_id, position, sha256, name) VALUES (?, ?, ?, ?)",
                [(turn_id, position, ref.sha256, ref.name) for position, ref in enumerate(pictures)],
            )
            db.execute("UPDATE turns SET shown_child_id = ? WHERE id = ?", (turn_id, parent_id))
            db.execute("UPDATE chats SET leaf_id = ?, updated = ? WHERE id = ?", (turn_id, now, chat_id))
            return turn_id

        return self._existing(self._write(change))

    def update_turn_text(self, turn_id: int, text: str) -> None:
        """Save an answer that is still being written. The caller decides how often."""
        self._write(
            lambda db: db.execute("UPDATE turns SET text = ? WHERE id = ? AND status = 'streaming'", (text, turn_id))
        )

    def finish_turn(
        self, turn_id: int, text: str, status: TurnStatus, *, reply: Reply | None = None, error: str = ""
    ) -> Turn:
        """Save how an answer ended. Raises StorageError when its chat has been deleted meanwhile."""
        stats = None if reply is None else stats_json(reply)

        def change(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE turns SET text = ?, status = ?, stats = ?, error = ? WHERE id = ?",
                (text, status, stats, error, turn_id),
            )
            db.execute(
                "UPDATE chats SET updated = ? WHERE id = (SELECT chat_id FROM turns WHERE id = ?)",
                (time.time(), turn_id),
            )
            if reply is not None:
                note_cost(db, turn_id, reply.picture_tokens)

        self._write(change)
        return self._existing(turn_id)

    def mark_interrupted(self, chat_id: int) -> None:
        """Say of the answers that are still "streaming" that nobody writes them any more."""
        self._write(
            lambda db: db.execute(
                "UPDATE turns SET status = 'interrupted' WHERE chat_id = ? AND status = 'streaming'", (chat_id,)
            )
        )

    def turn(self, turn_id: int) -> Turn | None:
        """A turn by its key; None when there is none."""
        return next(iter(self._turns(TURN + "WHERE t.id = ?", turn_id)), None)

    def turns(self, chat_id: int, before: int | None = None, limit: int = 40) -> list[Turn]:
        """The last `limit` turns of the shown branch, oldest first; with `before`, the ones just before that turn."""
        if before is None:
            rows = self._read("SELECT leaf_id FROM chats WHERE id = ?", chat_id)
        else:
            rows = self._read("SELECT parent_id FROM turns WHERE id = ? AND chat_id = ?", before, chat_id)
        if not rows or rows[0][0] is None or limit < 1:
            return []
        return self._branch(rows[0][0], limit)

    def path_to(self, turn_id: int) -> list[Turn]:
        """All turns from the first one to this one."""
        path: list[Turn] = []
        tip_id: int | None = turn_id
        while tip_id is not None and (piece := self._branch(tip_id, AT_ONCE)):
            path[:0] = piece
            tip_id = piece[0].parent_id
        return path

    def versions(self, turn_id: int) -> list[Turn]:
        """The turns with the same parent, oldest first, this one among them."""
        return self._turns(
            TURN + "JOIN turns o ON o.parent_id IS t.parent_id AND o.chat_id = t.chat_id WHERE o.id = ? ORDER BY t.id",
            turn_id,
        )

    def children(self, turn_id: int) -> list[Turn]:
        """The turns that follow it, oldest first."""
        return self._turns(TURN + "WHERE t.parent_id = ? ORDER BY t.id", turn_id)

    def show_branch(self, turn_id: int) -> Turn:
        """Show the branch through this turn, down to where it was when it was shown last; its last turn."""

        def change(db: sqlite3.Connection) -> int:
            upwards = db.execute(UPWARDS + "SELECT parent_id, id FROM branch", (turn_id, -1)).fetchall()
            db.executemany(
                "UPDATE turns SET shown_child_id = ?2 WHERE id = ?1 AND shown_child_id IS NOT ?2",
                [pair for pair in upwards if pair[0] is not None],
            )
            leaf_id = int(db.execute(DOWNWARDS, (turn_id,)).fetchone()[0])
            db.execute(
                "UPDATE chats SET leaf_id = ? WHERE id = (SELECT chat_id FROM turns WHERE id = ?)", (leaf_id, turn_id)
            )
            return leaf_id

        return self._existing(self._write(change))

    # Pictures

    def keep_picture(self, picture: Picture) -> PictureRef:
        """Keep a picture's bytes, once for each content, and refer to them."""
        problem = self._blobs.keep(picture.sha256, picture.data)
        width, height = picture.size
        self._write(
            lambda db: db.execute(
                "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET added = excluded.added",
                (picture.sha256, picture.media_type, width, height, len(picture.data), time.time()),
            )
        )
        if problem is not None:
            with self._lock:
                self._notices.append(_not_kept(problem.filename or "the chat history", problem, "The picture is"))
        return PictureRef(picture.sha256, picture.name, picture.media_type, width, height, len(picture.data))

    def picture_bytes(self, sha256: str) -> bytes:
        """The original bytes. Raises StorageError when they are gone or are not what they were."""
        try:
            return self._blobs.read(sha256)
        except (OSError, ValueError) as error:
            raise StorageError(
                f"A picture of this chat ({sha256[:12]}…) is gone from the history.", "Attach it again."
            ) from error

    # How

    def _read(self, query: str, *values: object) -> list[Row]:
        with self._lock:
            try:
                return self._db.execute(query, values).fetchall()
            except sqlite3.DatabaseError as error:
                if self._path is None or not is_disk_problem(error):
                    raise
                self._recover(self._path, error)
                raise StorageError(f"The chat history can not be read ({error}).") from error

    def _write(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do `change` wholly: on disk, or when the disk fails, in memory from now on."""
        with self._lock:
            try:
                return transaction(self._db, change)
            except sqlite3.IntegrityError as error:
                raise StorageError(
                    "That chat is not in the history any more.", "Open another, or a new one."
                ) from error
            except sqlite3.DatabaseError as error:
                if self._path is None or not is_disk_problem(error):
                    raise
                self._recover(self._path, error)
            return self._write(change)

    def _recover(self, path: Path, error: sqlite3.Error | OSError) -> None:
        """Go on with a new file when this one is broken, and otherwise in memory with what could be read till now."""
        if isinstance(error, sqlite3.Error) and is_broken(error):
            self._db.close()
            try:
                self._db, aside = open_or_begin_anew(path, broken=True)
            except (OSError, sqlite3.Error) as next_error:
                self._db, self._path = memory_database(), None
                self._notices.append(_not_kept(path.parent, next_error))
            else:
                self._notices.append(_set_aside(aside or path))
            return
        memory = memory_database()
        with contextlib.suppress(sqlite3.Error):
            self._db.backup(memory)
        self._db.close()
        self._db, self._path = memory, None
        self._notices.append(_not_kept(path.parent, error))

    def _turns(self, query: str, *values: object) -> list[Turn]:
        with self._lock:
            rows = self._read(query, *values)
            if not rows:
                return []
            keys = [row[0] for row in rows]
            pictures: dict[int, list[PictureRef]] = {}
            for turn_id, *ref in self._read(
                """
                SELECT turn_id, sha256, name, media_type, width, height, size, tokens
                FROM turn_pictures JOIN pictures USING (sha256) WHERE turn_id BETWEEN ? AND ? ORDER BY turn_id, position
                """,
                min(keys),
                max(keys),
            ):
                pictures.setdefault(turn_id, []).append(PictureRef(*ref))
        return [to_turn(row, tuple(pictures.get(row[0], ()))) for row in rows]

    def _branch(self, tip_id: int, limit: int) -> list[Turn]:
        return self._turns(UPWARDS + TURN + "JOIN branch USING (id) ORDER BY height DESC", tip_id, limit)

    def _existing(self, turn_id: int) -> Turn:
        turn = self.turn(turn_id)
        if turn is None:
            raise StorageError("That chat is not in the history any more.", "Open another, or a new one.")
        return turn

    def _forget_unsent(self) -> None:
        for sha256 in self._write(lambda db: forget_unshown(db, [])):
            self._blobs.remove(sha256)


def _one_line(title: str) -> str:
    return " ".join(title.split())


def _set_aside(aside: Path) -> StorageError:
    return StorageError(f"The chat history was damaged. It is set aside as {aside}.", "A new one is begun.")


def _not_kept(where: object, error: Exception, what: str = "Chats are") -> StorageError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return StorageError(
        f"{what} not kept: {where} can not be written ({reason}).",
        "Free some space or check the permissions, and start llava again. Till then, all goes on in memory.",
    )
