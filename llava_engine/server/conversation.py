"""Messages as clients send them -> a conversation as the engine takes it.

Neighbours of one role are joined, system texts are one, and a last message of the assistant's is the beginning of the
answer. In: checked messages. Out: plain data; pictures are opened in between (pictures.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from llava_engine.conversation.conversation import Conversation, Message, Role
from llava_engine.pictures.opening import Picture
from llava_engine.server import protocol
from llava_engine.server.problems import invalid

_JOINT = "\n"  # between neighbouring texts


@dataclass
class _Turn:
    """A turn on the way: its texts, and before which letter of them each picture stands."""

    role: Role
    offsets: list[int] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)
    _letters: int = 0
    _after_text: bool = False

    @property
    def text(self) -> str:
        """All that is said."""
        return "".join(self._texts)

    def say(self, text: str) -> None:
        """Go on, on a new line where the last thing was said, too."""
        if text:
            self._texts += (_JOINT, text) if self._after_text else (text,)
            self._letters += len(text) + (len(_JOINT) if self._after_text else 0)
            self._after_text = True

    def show(self) -> None:
        """A picture stands here."""
        self.offsets.append(self._letters)
        self._after_text = False


@dataclass(frozen=True)
class PictureAddress:
    """A picture that a message names: where it is, and the field that says so."""

    url: str
    param: str


@dataclass(frozen=True)
class Draft:
    """A conversation whose pictures are not opened yet.

    Attributes:
        turns: user and assistant; the last is to be answered.
        system: the system text; None for the model's own.
        begun: how the answer begins.
        pictures: in the order in which they are shown.
    """

    turns: tuple[_Turn, ...]
    system: str | None
    begun: str
    pictures: tuple[PictureAddress, ...]

    def conversation(self, pictures: Sequence[Picture]) -> Conversation:
        """The conversation with these pictures, as many as `self.pictures`."""
        left = iter(pictures)
        messages = []
        for turn in self.turns:
            shown = tuple(next(left) for _ in turn.offsets)
            text = turn.text
            messages.append(Message(turn.role, text, shown, _places(turn.offsets, len(text))))
        return Conversation(tuple(messages), self.system)


def draft(messages: Sequence[protocol.Message], *, to_be_answered: bool = True) -> Draft:
    """Order messages.

    Args:
        messages: as they came.
        to_be_answered: a last message of the assistant's is a beginning, and the one before it is to be answered.

    Raises:
        Problem: there is nothing to answer, or a picture where none can be.
    """
    turns: list[_Turn] = []
    system: list[str] = []
    pictures: list[PictureAddress] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}].content"
        parts = [protocol.TextPart(message.content)] if isinstance(message.content, str) else message.content or []
        if message.role in ("system", "developer"):
            system += [_text(part, f"{where}[{number}]") for number, part in enumerate(parts)]
            continue
        role: Role = "user" if message.role == "user" else "assistant"
        if not turns or turns[-1].role != role:
            turns.append(_Turn(role))
        turn = turns[-1]
        for number, part in enumerate(parts):
            if isinstance(part, protocol.ImagePart) and role == "user":
                turn.show()
                pictures.append(PictureAddress(part.url, f"{where}[{number}].image_url"))
            else:
                turn.say(_text(part, f"{where}[{number}]"))
    begun = turns.pop().text if to_be_answered and turns and turns[-1].role == "assistant" else ""
    if not turns or (to_be_answered and turns[-1].role != "user"):
        raise invalid("There is nothing to answer: no message is the user's.", "messages")
    return Draft(tuple(turns), _JOINT.join(system) if system else None, begun, tuple(pictures))


def _text(part: protocol.Part, where: str) -> str:
    if isinstance(part, protocol.ImagePart):
        raise invalid("A picture can be in a message of the user's only.", where)
    return part.text if isinstance(part, protocol.TextPart) else part.refusal


def _places(offsets: Sequence[int], end: int) -> tuple[int, ...] | None:
    """Where a turn's pictures stand in its text, which has `end` letters; None for the template's own place.

    All before the text, or all after it: that is the habit of a client's library, not a wish of its user's, so that
    they go where the model was taught to see them. The chat templates of the released checkpoints do the same.
    """
    together = set(offsets) <= {0} or set(offsets) <= {end}
    return None if together else tuple(offsets)
