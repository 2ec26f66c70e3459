"""Chats on disk: SQLite for turns, files named by hash for pictures. Every write is on disk when its method returns.

A chat's turns are a tree: regenerating or editing adds a sibling, and the branch shown last is remembered. When the
disk fails (read-only, full, another program's newer format), everything goes on in memory and `take_notices` says why.
Safe to call from several threads. It knows no engine and no screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llava_engine.contract import Reply
from llava_engine.conversation.messages import Role
from llava_engine.errors import StorageError
from llava_engine.pictures.opening import Picture
from llava_tui.records import Chat, PictureRef, Turn, TurnStatus


class Store:
    """The history of all chats. Make one with `Store.open(folder)` or `Store.in_memory()`."""

    @classmethod
    def open(cls, folder: Path) -> Store:
        """The history in `folder`, made when it is not there. Never raises for a bad disk: see `take_notices`.

        A broken database is renamed with the date and a new one begun; a newer one is left as it is.
        """
        raise NotImplementedError

    @classmethod
    def in_memory(cls) -> Store:
        """A history that ends with the process."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the files. Closing twice is no error."""
        raise NotImplementedError

    @property
    def saved(self) -> bool:
        """Whether what is written stays on disk."""
        raise NotImplementedError

    def take_notices(self) -> list[StorageError]:
        """What went wrong since the last call, for the user to know."""
        raise NotImplementedError

    # Chats

    def new_chat(self, title: str = "") -> Chat:
        """A chat without turns."""
        raise NotImplementedError

    def chat(self, chat_id: int) -> Chat | None:
        """A chat by its key; None when there is none."""
        raise NotImplementedError

    def chats(self, query: str = "", limit: int = 200) -> list[Chat]:
        """The newest first. With a query, those where a turn or the title has all its words (the last may be begun
        only), each with a snippet."""
        raise NotImplementedError

    def last_chat(self) -> Chat | None:
        """The chat that was used last."""
        raise NotImplementedError

    def rename(self, chat_id: int, title: str) -> None:
        """Give a chat a title."""
        raise NotImplementedError

    def delete_chat(self, chat_id: int) -> None:
        """Delete a chat with its turns, and the pictures that no other chat shows."""
        raise NotImplementedError

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
        raise NotImplementedError

    def update_turn_text(self, turn_id: int, text: str) -> None:
        """Save an answer that is still being written. The caller decides how often."""
        raise NotImplementedError

    def finish_turn(
        self, turn_id: int, text: str, status: TurnStatus, *, reply: Reply | None = None, error: str = ""
    ) -> Turn:
        """Save how an answer ended."""
        raise NotImplementedError

    def turn(self, turn_id: int) -> Turn | None:
        """A turn by its key; None when there is none."""
        raise NotImplementedError

    def turns(self, chat_id: int, before: int | None = None, limit: int = 40) -> list[Turn]:
        """The last `limit` turns of the shown branch, oldest first; with `before`, the ones just before that turn."""
        raise NotImplementedError

    def path_to(self, turn_id: int) -> list[Turn]:
        """All turns from the first one to this one."""
        raise NotImplementedError

    def versions(self, turn_id: int) -> list[Turn]:
        """The turns with the same parent, oldest first, this one among them."""
        raise NotImplementedError

    def children(self, turn_id: int) -> list[Turn]:
        """The turns that follow it, oldest first."""
        raise NotImplementedError

    def show_branch(self, turn_id: int) -> Turn:
        """Show the branch through this turn, down to where it was when it was shown last; its last turn."""
        raise NotImplementedError

    # Pictures

    def keep_picture(self, picture: Picture) -> PictureRef:
        """Keep a picture's bytes, once for each content, and refer to them."""
        raise NotImplementedError

    def picture_bytes(self, sha256: str) -> bytes:
        """The original bytes. Raises StorageError when they are gone or are not what they were."""
        raise NotImplementedError
