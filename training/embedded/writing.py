"""Conversations of the picture world as token ids, in a model's template, many a second.

The engine's `spans` writes a conversation's frame once, with nothing said in it; `Frame` then fills in what is said and
has the text between marks cut in one piece, as the engine's encoder does. So the ids are those of chat
(tests/training/embedded/test_world_batches.py), at a third of the time. Knows no torch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

from PIL import Image

from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.encoder import PromptEncoder
from llava_engine.conversation.spans import PictureSpan, spans
from llava_engine.conversation.tokenizer import Prompt, Tokenizer
from llava_engine.pictures.opening import Picture
from training.embedded.picture_world.exchanges import Exchange
from training.embedded.picture_world.scenes import SIDE

# Stands for the drawn picture where only its place matters.
PICTURE = Picture("drawn", lambda: Image.new("RGB", (SIDE, SIDE)), (SIDE, SIDE), "", "image/png", b"")
_SAID = "\0{}{}"  # what stands in a frame for a turn's question ("q") and answer ("a")


@dataclass(frozen=True)
class Written:
    """A segment's tokens.

    Attributes:
        ids: from the first behind the picture on; of a segment without a picture, all.
        asked: the places whose next token is learned, and
        targets: that token.
        mentions: (place of its last token, turn, index among the turn's mentions) of each mention.
    """

    ids: list[int]
    asked: list[int]
    targets: list[int]
    mentions: list[tuple[int, int, int]]


@dataclass(frozen=True)
class _Chunk:
    """Text that is cut in one piece: constants, and what is said, as (turn, "q" or "a")."""

    parts: tuple[str | tuple[int, str], ...]
    supervised: bool
    first: bool


@dataclass(frozen=True)
class _Mark:
    """A special token."""

    token: int
    supervised: bool


class Writer:
    """Writes conversations in a model's template and tokens."""

    def __init__(self, encoder: PromptEncoder) -> None:
        """Take what writes for the model; its tokenizer is one of vocabulary.py's, and strips nothing."""
        self.encoder = encoder
        tokenizer = encoder.tokenizer
        self._sizes = [len(tokenizer.token_bytes(token)) for token in range(tokenizer.vocabulary)]
        self._frames: dict[tuple[int, bool], list[_Chunk | _Mark]] = {}

    def prompt(self, turns: Sequence[Exchange], pictures_at: Sequence[int] = ()) -> Prompt:
        """Turns -> ids, with a picture in each of the turns `pictures_at`."""
        return self.encoder.encode(_conversation([(turn.question, turn.answer) for turn in turns], pictures_at))

    def segment(self, turns: Sequence[Exchange], *, on_picture: bool) -> Written:
        """What follows a picture that is shown in the first of `turns`; or a conversation without one."""
        key = (len(turns), on_picture)
        if key not in self._frames:
            self._frames[key] = self._frame(*key)
        ids: list[int] = []
        asked: list[int] = []
        targets: list[int] = []
        mentions: list[tuple[int, int, int]] = []
        for part in self._frames[key]:
            start = len(ids)
            if isinstance(part, _Mark):
                ids.append(part.token)
            else:
                self._cut(part, turns, ids, mentions)
            if part.supervised:
                asked += range(start - 1, len(ids) - 1)
                targets += ids[start:]
        return Written(ids, asked, targets, mentions)

    def _cut(
        self, chunk: _Chunk, turns: Sequence[Exchange], ids: list[int], mentions: list[tuple[int, int, int]]
    ) -> None:
        """Fill in a chunk, append its ids, and find the last token of each mention in it by counting bytes."""
        words: list[str] = []
        spoken: list[tuple[int, str, int]] = []  # turn, part, where it begins in the chunk
        at = 0
        for part in chunk.parts:
            if isinstance(part, str):
                text = part
            else:
                number, who = part
                text = turns[number].question if who == "q" else turns[number].answer
                spoken.append((number, who, at))
            words.append(text)
            at += len(text) if text.isascii() else len(text.encode())
        start = len(ids)
        ids += _encoded(self.encoder.tokenizer, "".join(words), chunk.first)
        ends: list[int] | None = None
        for number, who, begun in spoken:
            turn = turns[number]
            for index, mention in enumerate(turn.mentions):
                if (mention.part == "question") != (who == "q"):
                    continue
                if ends is None:
                    ends = list(accumulate(self._sizes[token] for token in ids[start:]))
                    lead = ends[-1] - at  # the space before the first word
                said = (turn.question if who == "q" else turn.answer)[: mention.end]
                end = lead + begun + (mention.end if said.isascii() else len(said.encode()))
                mentions.append((start + bisect_left(ends, end), number, index))

    def _frame(self, turns: int, on_picture: bool) -> list[_Chunk | _Mark]:
        """How conversations of so many turns are written: chunks and marks, from behind the picture on."""
        said = [(_SAID.format("q", number), _SAID.format("a", number)) for number in range(turns)]
        slots: dict[str, tuple[int, str]] = {}
        for number, (question, answer) in enumerate(said):
            slots |= {question: (number, "q"), answer: (number, "a")}
        conversation = replace(_conversation(said, [0] if on_picture else []), system=self.encoder.system)
        written = spans(conversation, self.encoder.template)
        frame: list[_Chunk | _Mark] = []
        waiting: list[str | tuple[int, str]] = []
        supervised, first = False, True

        def close() -> None:
            nonlocal first
            if waiting:
                frame.append(_Chunk(tuple(waiting), supervised, first))
                waiting.clear()
                first = False

        if self.encoder.tokenizer.bos_id is not None:
            frame.append(_Mark(self.encoder.tokenizer.bos_id, False))
        for span in written:
            if isinstance(span, PictureSpan):
                waiting.clear()
                frame.clear()  # what stands before the picture is the prefix's
                first = True
                continue
            pieces = self.encoder.tokenizer.split_marks(span.text) if span.special else [span.text]
            for piece in pieces:
                if isinstance(piece, int):
                    close()
                    frame.append(_Mark(piece, span.supervised))
                    first = self.encoder.tokenizer.prefix_after(piece)
                else:
                    if span.supervised != supervised:
                        close()
                        supervised = span.supervised
                    waiting.append(slots.get(piece, piece))
        close()
        return frame


def _conversation(said: Sequence[tuple[str, str]], pictures_at: Sequence[int]) -> Conversation:
    messages: list[Message] = []
    for number, (question, answer) in enumerate(said):
        shown = (PICTURE,) if number in pictures_at else ()
        messages += [Message.user(question, shown), Message.assistant(answer)]
    return Conversation(tuple(messages))


@lru_cache(maxsize=50_000)
def _encoded(tokenizer: Tokenizer, text: str, first: bool) -> tuple[int, ...]:
    """Many answers, and some questions, come again and again."""
    return tuple(tokenizer.encode(text, first=first))


@dataclass(frozen=True)
class Lead:
    """What comes before the segments of a batch: sometimes earlier turns, then the picture that they are about.

    Attributes:
        ids: up to and with the last picture's tokens.
        pictures_at: where in them each picture begins; the last one is the segments' own.
    """

    ids: tuple[int, ...]
    pictures_at: tuple[int, ...]

    @classmethod
    def of(cls, writer: Writer, turns: tuple[Exchange, ...] = (), pictures_at: tuple[int, ...] = ()) -> Lead:
        """Earlier turns, some of which show another picture."""
        prompt = writer.prompt([*turns, Exchange("", "x", "x")], [*pictures_at, len(turns)])
        last = prompt.slots[-1]
        return cls(prompt.ids[: last.start + last.length], tuple(slot.start for slot in prompt.slots))
