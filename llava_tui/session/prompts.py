"""What the model is asked: the branch that ends with a turn, as a `Conversation` with its pictures open.

For the engine's thread, since it may have to open many pictures. It decides nothing about the words: see `branch.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from llava_engine.conversation.conversation import Conversation
from llava_engine.errors import LlavaError
from llava_engine.terminal_safe import SafeText, one_line
from llava_tui.history.store import Store
from llava_tui.history.turns import PictureRef
from llava_tui.session.conversation_of import conversation_of
from llava_tui.session.events import Notice
from llava_tui.session.picture_shelf import PictureShelf


class Prompts:
    """Makes conversations out of kept turns.

    Args:
        store: where the turns are.
        shelf: where the pictures are.
        system: the system text; None for the template's own.
        tell: is given a notice for each picture that is missing, once; called on the calling thread.
    """

    def __init__(self, store: Store, shelf: PictureShelf, system: str | None, tell: Callable[[Notice], None]) -> None:
        self._store = store
        self._shelf = shelf
        self._system = system
        self._tell = tell
        self._missing: set[str] = set()

    def up_to(self, turn_id: int) -> Conversation:
        """From the chat's first turn to this one, along its parents."""
        return conversation_of(self._store.path_to(turn_id), self._shelf.get, self._note_missing, self._system)

    def _note_missing(self, ref: PictureRef, error: LlavaError) -> None:
        if ref.sha256 not in self._missing:
            self._missing.add(ref.sha256)
            cause = one_line(f"{ref.name} is left out: {error.cause}")
            self._tell(Notice(cause, SafeText("Attach it again to ask about it."), "warning"))
