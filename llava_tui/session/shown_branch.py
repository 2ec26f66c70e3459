"""Which chat is shown, and which branch of its tree: a new or a kept one, its versions, its end.

What changes is told to the outbox. Knows no engine: who answers, and when, is the session's.
"""

from __future__ import annotations

from collections.abc import Sequence

from llava_engine.contract import TokenCount
from llava_engine.errors import StorageError
from llava_engine.pictures.opening import Picture
from llava_engine.terminal_safe import SafeText, strip_control
from llava_tui.history.store import Store
from llava_tui.history.turns import Chat, PictureRef, Turn
from llava_tui.session.events import BranchChanged, ChatChanged, ChatTitled, TurnAdded
from llava_tui.session.outbox import Outbox

_RECENT = 8  # turns: an answer that says what it took is among them, or it is long ago
_TITLE_LENGTH = 60  # letters: a line of the list of chats


class ShownBranch:
    """The shown branch. What the store raises (StorageError) passes through.

    Attributes:
        chat: the chat; None for a new one, which is made with its first message.
        leaf_id: the last turn of the branch; None while there is none.
    """

    def __init__(self, store: Store, out: Outbox) -> None:
        self._store = store
        self._out = out
        self.chat: Chat | None = None
        self.leaf_id: int | None = None

    def shows(self, turn: Turn | None) -> bool:
        """Whether a turn is of the shown chat, on whatever branch."""
        return turn is not None and self.chat is not None and turn.chat_id == self.chat.id

    def page(self, before: int | None, limit: int) -> list[Turn]:
        """Turns of it, oldest first: the last ones, or those just before the turn `before`."""
        return [] if self.chat is None else self._store.turns(self.chat.id, before, limit)

    def last_usage(self) -> TokenCount | None:
        """What its last answer said that it takes; None where none did."""
        stats = next((turn.stats for turn in reversed(self.page(None, _RECENT)) if turn.stats), None)
        if stats is None or not stats.prompt_tokens:
            return None
        return TokenCount(stats.prompt_tokens + stats.completion_tokens, stats.picture_tokens)

    def show(self, chat: Chat | None) -> None:
        """Another chat, from where it was; None: a new one."""
        self.chat = chat
        self.leaf_id = chat.leaf_id if chat is not None else None
        self._out.add(ChatChanged(chat))

    def ask(self, text: SafeText, pictures: Sequence[Picture]) -> Turn:
        """A question at its end; the first one makes the chat."""
        # Kept when they were opened; again, should a chat that showed the same have been deleted since.
        refs = [self._store.keep_picture(picture) for picture in pictures]
        if self.chat is None:
            self.chat = self._store.new_chat(_title(text, refs))
        turn = self._store.add_turn(self.chat.id, self.leaf_id, "user", text, pictures=refs)
        self.leaf_id = turn.id
        self._out.add(TurnAdded(turn))
        self.refresh()
        return turn

    def fork(self, question: Turn, text: SafeText) -> Turn:
        """A version of a question with another text and the same pictures."""
        parent, pictures = question.parent_id, question.pictures
        turn = self._store.add_turn(question.chat_id, parent, "user", text, pictures=pictures)
        self.leaf_id = turn.id
        self._out.add(BranchChanged(turn.id))
        return turn

    def begin_answer(self, chat: Chat, question_id: int) -> Turn:
        """An empty answer below a question, beside those that are there."""
        turn = self._store.add_turn(chat.id, question_id, "assistant", "", status="streaming")
        self.leaf_id = turn.id
        self._out.add(BranchChanged(turn.id) if turn.versions > 1 else TurnAdded(turn))
        return turn

    def flip(self, turn_id: int, step: int) -> bool:
        """Show the version `step` before (negative) or after this turn, and what follows it; False at an end."""
        versions = self._store.versions(turn_id)
        here = next((index for index, turn in enumerate(versions) if turn.id == turn_id), None)
        if here is None or not step or not 0 <= here + step < len(versions):
            return False
        self.leaf_id = self._store.show_branch(versions[here + step].id).id
        self._out.add(BranchChanged(versions[here + step].id))
        return True

    def kept(self, chat_id: int) -> Chat:
        """A chat of the history."""
        chat = self._store.chat(chat_id)
        if chat is None:
            raise StorageError("That chat is not in the history any more.", "Open another, or a new one.")
        return chat

    def rename(self, chat_id: int, title: str) -> None:
        """Give a chat a title."""
        self._store.rename(chat_id, strip_control(title))
        self.refresh()

    def refresh(self) -> None:
        """See what the store says of the chat now."""
        if self.chat is None:
            return
        before, self.chat = self.chat, self._store.chat(self.chat.id) or self.chat
        if before.turns == 0 or before.title != self.chat.title:
            self._out.add(ChatTitled(self.chat))


def _title(text: str, pictures: list[PictureRef]) -> str:
    words = " ".join(text.split()) or ", ".join(ref.name for ref in pictures)
    return words if len(words) <= _TITLE_LENGTH else words[: _TITLE_LENGTH - 1].rstrip() + "…"
