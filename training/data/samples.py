"""Rows of a file -> samples: token ids, which of them are learned, and pixels. The ids are those of chat.

In: rows, the folder of their pictures, a model's encoder and preprocessing. Runs in a worker process;
knows no model and no loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.encoder import PromptEncoder
from llava_engine.errors import ConversationError, DataError, PictureError
from llava_engine.pictures.opening import Picture, open_picture
from llava_engine.pictures.processing import Preprocessing
from training.data.llava_json import Row


@dataclass(frozen=True)
class Sample:
    """One conversation for training.

    Attributes:
        ids: (T,) token ids, the image token's in the pictures' places.
        targets: (T,) the next token where it is learned, else -1.
        pixels: (pictures, 3, side, side).
    """

    ids: Tensor
    targets: Tensor
    pixels: Tensor


@dataclass(frozen=True)
class Samples:
    """Rows that can be asked for by number.

    Attributes:
        rows: from llava_json.py.
        images: the folder of their pictures; None when no row has any.
        encoder: how a conversation is written, and what a picture becomes.
        preprocessing: what the tower is shown of it.
        context: longer conversations are cut after so many tokens.
    """

    rows: tuple[Row, ...]
    images: Path | None
    encoder: PromptEncoder
    preprocessing: Preprocessing
    context: int

    def __getitem__(self, number: int) -> Sample:
        """Raises `DataError` that names the row when a picture is missing or a turn can not be written."""
        row = self.rows[number]
        pictures = [self._picture(name, row) for name in row.images]
        try:
            prompt = self.encoder.encode(Conversation(_messages(row, pictures)))
        except ConversationError as error:
            raise DataError(f"{row.name}: {error.cause}", error.remedy) from error
        if prompt.slots and prompt.slots[-1].start + prompt.slots[-1].length > self.context:
            raise DataError(f"{row.name}: its pictures do not fit into {self.context:,} tokens.")
        ids = torch.tensor(prompt.ids)
        learned = torch.tensor(prompt.supervised)
        targets = torch.full_like(ids, -1)
        targets[:-1] = torch.where(learned[1:], ids[1:], -1)
        side = self.preprocessing.size
        pixels = [torch.from_numpy(self.preprocessing.pixels(picture)) for picture in pictures]
        shown = torch.stack(pixels) if pixels else torch.empty(0, 3, *side)
        return Sample(ids[: self.context], targets[: self.context], shown)

    def _picture(self, name: str, row: Row) -> Picture:
        if self.images is None:
            raise DataError(f"{row.name} shows {name}.", "Say with --images which folder its pictures are in.")
        path = self.images / name
        if not path.resolve().is_relative_to(self.images.resolve()):
            raise DataError(f"{row.name} shows {name}, which is outside of {self.images}.")
        try:
            return open_picture(str(path))
        except PictureError as error:
            raise DataError(f"{row.name}: {error.cause}", error.remedy) from error


def _messages(row: Row, pictures: list[Picture]) -> tuple[Message, ...]:
    messages, start = [], 0
    for turn in row.turns:
        shown = tuple(pictures[start : start + turn.pictures])
        start += turn.pictures
        messages.append(Message(turn.role, turn.text, shown, turn.places))
    return tuple(messages)
