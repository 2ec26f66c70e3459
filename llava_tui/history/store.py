"""Chats on disk: SQLite for turns, files named by hash for pictures. What is written is kept when its method returns.

A chat's turns are a tree: regenerating or editing adds a sibling, and the branch shown last is remembered. What a disk
can do to it is looked after in `kept_database.py`; `take_notices` says what it did. Safe to call from several threads.
It knows no engine and no screen.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llava_engine.contract import Reply
from llava_engine.conversation.conversation import Role
from llava_engine.errors import StorageError
from llava_engine.pictures.opening import Picture
from llava_tui.history.blobs import Blobs
from llava_tui.history.kept_database import KeptDatabase, LockedError
from llava_tui.history.queries import (
    CHAT,
    DOWNWARDS,
    LEAF,
    TURN,
    UPWARDS,
    forget_unshown,
    note_cost,
    stats_json,
    to_chat,
    to_picture,
    to_turn,
)
from llava_tui.history.search import find_chats
from llava_tui.history.turns import Chat, PictureRef, ReplyStats, Turn, TurnStatus

AT_ONCE = 500
"""Turns that are read in one go: the engine's thread reads whole chats, and a screen must not wait for that."""


class Store:
    """The history of all chats. Make one with `Store.open(folder)` or `Store.in_memory()`."""

    def __init__(self, db: KeptDatabase, blobs: Blobs) -> None:
        self._db = db
        self._blobs = blobs
        self._set_aside: list[int] = []

    @classmethod
    def open(cls, folder: Path) -> Store:
        """The history in `folder`, made when it is not there. Never raises for a bad disk: see `take_notices`.

        A broken database is renamed with the date and a new one begun; a newer one is left as it is.
        """
        db = KeptDatabase(folder / "history.sqlite3")
        store = cls(db, Blobs(folder / "pictures" if db.on_disk else None))
        store._forget_unsent()
        return store

    @classmethod
    def in_memory(cls) -> Store:
        """A history that ends with the process."""
        return cls(KeptDatabase(None), Blobs(None))

    def close(self) -> None:
        """Delete for good what was set aside, and close the files. Closing twice is no error."""
        while self._set_aside:
            with contextlib.suppress(StorageError):  # another program holds the file: it is there at the next start
                self.delete_chat(self._set_aside.pop())
        self._db.close()

    @property
    def saved(self) -> bool:
        """Whether what is written stays on disk."""
        return self._db.on_disk

    def take_notices(self) -> list[StorageError]:
        """What went wrong since the last call, for the user to know. Call it often: it also saves what had to wait."""
        return self._db.take_notices()

    # Chats

    def new_chat(self, title: str = "") -> Chat:
        """A chat without turns."""
        now = time.time()

        def change(db: sqlite3.Connection) -> int:
            cursor = db.execute(
                "INSERT INTO chats(title, created, updated) VALUES (?, ?, ?)", (_one_line(title), now, now)
            )
            return int(cursor.lastrowid or 0)

        return Chat(self._db.write(change), _one_line(title), now, now, 0, None)

    def chat(self, chat_id: int) -> Chat | None:
        """A chat by its key; None when there is none."""
        rows = self._db.read(CHAT + "WHERE c.id = ?", chat_id)
        return to_chat(rows[0]) if rows else None

    def chats(self, query: str = "", limit: int = 200) -> list[Chat]:
        """The newest first. With a query, those where a turn or the title has all its words (the last may be begun
        only), each with a snippet."""
        wanted = limit + len(self._set_aside)
        snippets = find_chats(self._db.read, query, wanted)
        if snippets is None:
            rows = self._db.read(CHAT + "ORDER BY c.updated DESC, c.id DESC LIMIT ?", wanted)
            return [to_chat(row) for row in rows if row[0] not in self._set_aside][:limit]
        chats = [
            to_chat(row, snippet)
            for key, snippet in snippets.items()
            if key not in self._set_aside
            for row in self._db.read(CHAT + "WHERE c.id = ?", key)
        ]
        return sorted(chats, key=lambda chat: (chat.updated, chat.id), reverse=True)[:limit]

    def last_chat(self) -> Chat | None:
        """The chat that was used last: by the order of its turns, since a clock may have been set back."""
        aside = ",".join(map(str, self._set_aside))
        latest = self._db.read(f"SELECT chat_id FROM turns WHERE chat_id NOT IN ({aside}) ORDER BY id DESC LIMIT 1")
        return self.chat(latest[0][0]) if latest else next(iter(self.chats(limit=1)), None)

    def rename(self, chat_id: int, title: str) -> None:
        """Give a chat a title."""
        self._db.write(lambda db: db.execute("UPDATE chats SET title = ? WHERE id = ?", (_one_line(title), chat_id)))

    def set_aside(self, chat_id: int) -> None:
        """Take a chat out of every list; it is deleted when the store closes, and there again if that never happens."""
        if chat_id not in self._set_aside:
            self._set_aside.append(chat_id)

    def bring_back(self) -> Chat | None:
        """Undo the last `set_aside`; None when there is none left."""
        return self.chat(self._set_aside.pop()) if self._set_aside else None

    def delete_chat(self, chat_id: int) -> None:
        """Delete a chat with its turns, and the pictures that no other chat shows; no copy of it stays in the files."""

        def change(db: sqlite3.Connection) -> list[str]:
            shown = db.execute(
                "SELECT DISTINCT sha256 FROM turn_pictures JOIN turns ON turns.id = turn_id WHERE chat_id = ?",
                (chat_id,),
            ).fetchall()
            db.execute("DELETE FROM turns WHERE chat_id = ?", (chat_id,))
            db.execute("DELETE FROM chats WHERE id = ?", (chat_id,))
            db.execute(
                "INSERT INTO turns_fts(turns_fts) VALUES ('optimize')"
            )  # it keeps deleted words till it is merged
            return forget_unshown(db, [sha256 for (sha256,) in shown])

        for sha256 in self._db.write(change):
            self._blobs.remove(sha256)
        self._db.empty_log()

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

        return self._existing(self._db.write(change))

    def update_turn_text(self, turn_id: int, text: str) -> None:
        """Save an answer that is still being written. The caller decides how often; a lock makes it miss one time."""
        with contextlib.suppress(LockedError):
            self._db.write(
                lambda db: db.execute(
                    "UPDATE turns SET text = ? WHERE id = ? AND status = 'streaming'", (text, turn_id)
                )
            )

    def finish_turn(
        self,
        turn_id: int,
        text: str,
        status: TurnStatus,
        *,
        reply: Reply | None = None,
        model: str = "",
        error: str = "",
    ) -> Turn:
        """Save how an answer ended, as soon as the file can be had; until then the turn is as it will be.

        `model` is who gave the reply.

        Raises StorageError when its chat has been deleted meanwhile.
        """
        turn = self._existing(turn_id)
        stats = None if reply is None else ReplyStats.of(reply, model)

        def change(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE turns SET text = ?, status = ?, stats = ?, error = ? WHERE id = ?",
                (text, status, None if stats is None else stats_json(stats), error, turn_id),
            )
            db.execute(
                "UPDATE chats SET updated = ? WHERE id = (SELECT chat_id FROM turns WHERE id = ?)",
                (time.time(), turn_id),
            )
            if reply is not None:
                note_cost(db, turn_id, reply.picture_tokens)

        self._db.write_sometime(change)
        return replace(turn, text=text, status=status, stats=stats, error=error)

    def mark_interrupted(self, chat_id: int) -> None:
        """Say of the answers that are still "streaming" that nobody writes them any more."""
        self._db.write_sometime(
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
            rows = self._db.read(LEAF, chat_id)
        else:
            rows = self._db.read("SELECT parent_id FROM turns WHERE id = ? AND chat_id = ?", before, chat_id)
        if not rows or rows[0][0] is None or limit < 1:
            return []
        return self._branch(rows[0][0], limit)

    def path_to(self, turn_id: int) -> list[Turn]:
        """All turns from the first one to this one."""
        path: list[Turn] = []
        tip_id: int | None = turn_id
        while tip_id is not None and (piece := self._branch(tip_id, AT_ONCE)):
            path[:0] = piece
            first = piece[0]
            tip_id = first.parent_id if first.parent_id is not None and first.parent_id < first.id else None
        return path

    def versions(self, turn_id: int) -> list[Turn]:
        """The turns with the same parent, oldest first, this one among them."""
        return self._turns(
            TURN + "JOIN turns o ON o.parent_id IS t.parent_id AND o.chat_id = t.chat_id WHERE o.id = ? ORDER BY t.id",
            turn_id,
        )

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

        return self._existing(self._db.write(change))

    # Pictures

    def keep_picture(self, picture: Picture) -> PictureRef:
        """Keep a picture's bytes, once for each content, and refer to them."""
        problem = self._blobs.keep(picture.sha256, picture.data)
        width, height = picture.size
        self._db.write(
            lambda db: db.execute(
                "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET added = excluded.added",
                (picture.sha256, picture.media_type, width, height, len(picture.data), time.time()),
            )
        )
        if problem is not None:
            self._db.tell(StorageError(f"The picture is not kept: {problem.cause}", problem.remedy))
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

    def _turns(self, query: str, *values: object) -> list[Turn]:
        rows = self._db.read(query, *values)
        if not rows:
            return []
        keys = [row[0] for row in rows]
        pictures: dict[int, list[PictureRef]] = {}
        for turn_id, *ref in self._db.read(
            """
            SELECT turn_id, sha256, name, media_type, width, height, size, tokens
            FROM turn_pictures JOIN pictures USING (sha256) WHERE turn_id BETWEEN ? AND ? ORDER BY turn_id, position
            """,
            min(keys),
            max(keys),
        ):
            pictures.setdefault(turn_id, []).append(to_picture(tuple(ref)))
        return [to_turn(row, tuple(pictures.get(row[0], ()))) for row in rows]

    def _branch(self, tip_id: int, limit: int) -> list[Turn]:
        return self._turns(UPWARDS + TURN + "JOIN branch USING (id) ORDER BY height DESC", tip_id, limit)

    def _existing(self, turn_id: int) -> Turn:
        turn = self.turn(turn_id)
        if turn is None:
            raise StorageError("That chat is not in the history any more.", "Open another, or a new one.")
        return turn

    def _forget_unsent(self) -> None:
        with contextlib.suppress(StorageError):  # another start will do
            for sha256 in self._db.write(lambda db: forget_unshown(db, [])):
                self._blobs.remove(sha256)


def _one_line(title: str) -> str:
    return " ".join(title.split())
