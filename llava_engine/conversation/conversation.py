"""Plain data: a conversation with pictures, as a person or a data file states it.

Knows no template, no tokenizer, no torch. A message is a sequence of parts, so that a picture may stand anywhere in
the text; `Message.user("…", pictures=[…])` is the usual way, where the template decides on which side pictures go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from llava_engine.pictures.opening import Picture

Role = Literal["user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One turn.

    Attributes:
        role: who speaks.
        text: what is said, exactly; never parsed for markers.
        pictures: the pictures of this turn, in order.
        picture_offsets: where in `text` each picture stands (character offsets, ascending), for data that says so;
            None leaves the place to the template.
    """

    role: Role
    text: str
    pictures: tuple[Picture, ...] = ()
    picture_offsets: tuple[int, ...] | None = None

    @classmethod
    def user(cls, text: str, pictures: Sequence[Picture] = ()) -> Message:
        """A user's turn, its pictures placed by the template."""
        return cls("user", text, tuple(pictures))

    @classmethod
    def assistant(cls, text: str) -> Message:
        """An answer."""
        return cls("assistant", text)


@dataclass(frozen=True)
class Conversation:
    """Turns in order, and the system text.

    Attributes:
        messages: user and assistant in turn, user first. When the last one is the user's, the model answers it.
        system: None for the template's own system text, "" for none at all.
    """

    messages: tuple[Message, ...] = ()
    system: str | None = None

    def then(self, message: Message) -> Conversation:
        """This conversation with one more turn."""
        return Conversation((*self.messages, message), self.system)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures, in the order in which they are shown."""
        return tuple(picture for message in self.messages for picture in message.pictures)
