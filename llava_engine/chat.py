"""Chat: a conversation that goes on over one engine, for scripts. Screens keep their own tree of turns (session.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import TYPE_CHECKING, TypeAlias

from llava_engine.contract import EngineLike, Progress, Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.pictures.opening import Picture, open_picture

if TYPE_CHECKING:
    from PIL import Image

PictureSource: TypeAlias = "str | PathLike[str] | bytes | Image.Image | Picture"


class Chat:
    """Turns about pictures; each `send` reads only what is new.

    Attributes:
        conversation: everything said so far.
        last: the last reply, or None.
    """

    def __init__(self, engine: EngineLike, conversation: Conversation, sampling: Sampling) -> None:
        self.conversation = conversation
        self.last: Reply | None = None
        self._engine = engine
        self._sampling = sampling

    def send(self, text: str, pictures: Sequence[PictureSource] = ()) -> Iterator[str]:
        """Say something and read the answer, piece by piece.

        The turn becomes part of the conversation when the answer is over; one that the caller stops reading keeps
        what was said until then. An error leaves the conversation as it was.

        Args:
            text: what to say.
            pictures: paths, URLs, bytes, PIL images or opened pictures, shown with this turn.

        Raises:
            LlavaError: a picture can not be opened, or the conversation does not fit; before the first piece.
        """
        asked = self.conversation.then(Message.user(text, [opened(source) for source in pictures]))
        said: list[str] = []
        whole = False
        try:
            for item in self._engine.stream(asked, self._sampling):
                if isinstance(item, Reply):
                    self.last, whole = item, True
                elif not isinstance(item, Progress):
                    said.append(item)
                    yield item
            self.conversation = asked.then(Message.assistant("".join(said)))
        except GeneratorExit:
            if not whole:
                self.conversation = asked.then(Message.assistant("".join(said)))
            raise


def opened(source: PictureSource) -> Picture:
    """A picture, opened unless it is already; raises `PictureError`."""
    return source if isinstance(source, Picture) else open_picture(source)
