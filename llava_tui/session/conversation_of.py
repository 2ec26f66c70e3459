"""One branch of a chat's tree -> the `Conversation` that a model is asked.

For the engine's thread, since it may have to open many pictures: none before what is sure to be too long is refused.
What did not become an exchange of words does not reach the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from llava_engine.contract import ModelCard
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import ContextOverflowError, LlavaError
from llava_engine.pictures.opening import Picture
from llava_engine.terminal_safe import SafeText, one_line
from llava_tui.history.store import Store
from llava_tui.history.turns import PictureRef, Turn
from llava_tui.session.draft import TOKEN_LETTERS
from llava_tui.session.events import Notice
from llava_tui.session.picture_shelf import PictureShelf


class Conversations:
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

    def up_to(self, turn_id: int, card: ModelCard) -> Conversation:
        """From the chat's first turn to this one, along its parents.

        Raises ContextOverflowError when the model can not hold it, however it is counted.
        """
        turns = self._store.path_to(turn_id)
        least = least_tokens(turns, card)
        if card.context_length is not None and least > card.context_length:
            raise ContextOverflowError(least, card.context_length)
        return conversation_of(turns, self._shelf.get, self._note_missing, self._system)

    def _note_missing(self, ref: PictureRef, error: LlavaError) -> None:
        if ref.sha256 not in self._missing:
            self._missing.add(ref.sha256)
            cause = one_line(f"{ref.name} is left out: {error.cause}")
            self._tell(Notice(cause, SafeText("Attach it again to ask about it."), "warning"))


def least_tokens(turns: Sequence[Turn], card: ModelCard) -> int:
    """What these turns cost at least: known without opening a picture or reading a word."""
    read = [turn for exchange in _exchanges(turns) for turn in exchange]
    letters = sum(len(turn.text) for turn in read)
    return letters // TOKEN_LETTERS + (card.picture_tokens or 0) * sum(len(turn.pictures) for turn in read)


def conversation_of(
    turns: Iterable[Turn],
    open_picture: Callable[[PictureRef], Picture],
    missing: Callable[[PictureRef, LlavaError], None],
    system: str | None = None,
) -> Conversation:
    """The conversation that these turns (from a chat's first one on) are for a model.

    Questions that got no word of an answer (it was stopped at once, or another message was sent before it) are read
    together with the next one, so that user and assistant alternate. A question whose answer failed without a word is
    left out: what made it fail (too long, too many pictures) would fail the next one too.

    Args:
        turns: oldest first.
        open_picture: reference -> Picture; what it raises as a LlavaError leaves that picture out.
        missing: told of each picture that was left out.
        system: the system text; None for the template's own.
    """
    messages: list[Message] = []
    for exchange in _exchanges(turns):
        if asked := [turn for turn in exchange if turn.role == "user"]:
            messages.append(_question(asked, open_picture, missing))
        messages += [Message.assistant(turn.text) for turn in exchange if turn.role == "assistant"]
    return Conversation(tuple(messages), system)


def _exchanges(turns: Iterable[Turn]) -> list[list[Turn]]:
    """Those turns that are read: questions and the answer to them, if there is one, again and again."""
    found: list[list[Turn]] = []
    asked: list[Turn] = []
    for turn in turns:
        if turn.role == "user":
            asked.append(turn)
        elif turn.text:
            found.append([*asked, turn] if asked else [])
            asked = []
        elif turn.status == "failed":
            asked = []
    return [*found, asked]


def _question(
    turns: list[Turn],
    open_picture: Callable[[PictureRef], Picture],
    missing: Callable[[PictureRef, LlavaError], None],
) -> Message:
    pictures = []
    for ref in (ref for turn in turns for ref in turn.pictures):
        try:
            pictures.append(open_picture(ref))
        except LlavaError as error:
            missing(ref, error)
    return Message.user("\n\n".join(turn.text for turn in turns if turn.text), pictures)
