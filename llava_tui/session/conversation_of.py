"""One branch of a chat's tree -> the `Conversation` that a model is asked.

Pure: pictures are opened through the function that it is given. What did not become an exchange of words does not reach
the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import LlavaError
from llava_engine.pictures.opening import Picture
from llava_tui.history.turns import PictureRef, Turn


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
    asked: list[Turn] = []
    for turn in turns:
        if turn.role == "user":
            asked.append(turn)
        elif turn.text:
            if asked:
                messages += [_question(asked, open_picture, missing), Message.assistant(turn.text)]
            asked = []
        elif turn.status == "failed":
            asked = []
    if asked:
        messages.append(_question(asked, open_picture, missing))
    return Conversation(tuple(messages), system)


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
