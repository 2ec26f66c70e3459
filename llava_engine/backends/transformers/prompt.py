"""A conversation -> what a model of transformers is given: ids, what stands at each position, and the pictures' inputs.

The processor makes all of it from one text and the pictures. Which tokens are which picture's is told by what it put
in the place of its mark, so that no family needs code of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from llava_engine.backends.transformers.marks import Marks
from llava_engine.backends.transformers.writing import Writer
from llava_engine.conversation.conversation import Conversation
from llava_engine.errors import ConversationError
from llava_engine.pictures.opening import Picture

Identity = int | tuple[str, int, int, int]
"""A position: a token's id; in a picture its hash, the place in it, how long it is, and the id."""

# What has a value for each token; all else that a processor makes belongs to pictures.
_BY_TOKEN = ("attention_mask", "token_type_ids", "mm_token_type_ids")
_ASKED = {"return_tensors": "pt", "return_offsets_mapping": True, "return_text_replacement_offsets": True}


@dataclass(frozen=True)
class ForeignPrompt:
    """A prompt, ready to be read.

    Attributes:
        text: as written, each picture as <image>.
        ids: of all positions.
        by_token: (1, T) each: the attention mask and what else goes with the ids.
        seen: the inputs that are made of all pictures, in order.
        ranges: where each picture is: its first position and the one after its last.
        written: what stands in a picture's place, for each; empty where the processor does not say.
        pictures: the pictures, in order.
        cuttable: whether it can be read in two parts: nothing but the known goes along with the tokens.
        lead: a space with which answers begin, because the prompt does not end with one; else "".
    """

    text: str
    ids: tuple[int, ...]
    by_token: Mapping[str, Tensor]
    seen: Mapping[str, Any]
    ranges: tuple[tuple[int, int], ...]
    written: tuple[str, ...]
    pictures: tuple[Picture, ...]
    cuttable: bool
    lead: str

    def identities(self) -> list[Identity]:
        """What stands at each position."""
        found: list[Identity] = list(self.ids)
        for picture, (start, end) in zip(self.pictures, self.ranges, strict=True):
            for place in range(start, end):
                found[place] = (picture.sha256, place - start, end - start, self.ids[place])
        return found


class Prompter:
    """Makes prompts with one processor. Any thread may ask; one prompt is made at a time, and the last is kept.

    Attributes:
        writer: what writes a conversation as text.
        marks: what looks like one, and its stand-ins.
    """

    def __init__(self, processor: Any, name: str) -> None:
        """Raises `ModelError`, about a model of this name, where its chat template takes no conversation."""
        self._processor = processor
        mark = getattr(processor, "image_token", None)
        self._mark: str | None = mark if isinstance(mark, str) and mark else None
        self.marks = Marks(processor.tokenizer, processor.chat_template, () if mark is None else (mark,))
        self.writer = Writer(processor, self.marks, name)
        self._busy = threading.Lock()
        self._last: tuple[tuple[str, tuple[str, ...]], ForeignPrompt] | None = None

    def prompt(self, conversation: Conversation, begun: str = "") -> ForeignPrompt:
        """The prompt of a conversation. Raises `ConversationError` where template or processor refuse it."""
        with self._busy:
            written = self.writer.write(conversation, begun)
            key = written, tuple(picture.sha256 for picture in conversation.pictures)
            if self._last is None or self._last[0] != key:
                self._last = key, self._read(written, conversation.pictures)
            return self._last[1]

    def seen_alone(self, pictures: Sequence[Picture], written: Sequence[str]) -> Mapping[str, Any] | None:
        """Inputs of some pictures of a prompt, as if there were no others.

        Args:
            pictures: in order.
            written: what stands in their places in the prompt.

        Returns:
            None where the processor treats them in another way when they are alone.
        """
        if self._mark is None:
            return None
        with self._busy:
            alone = self._read(self._mark * len(pictures), pictures)
        return alone.seen if written and alone.written == tuple(written) else None

    def forget(self) -> None:
        """Let go of the last prompt."""
        with self._busy:
            self._last = None

    def _read(self, written: str, pictures: Sequence[Picture]) -> ForeignPrompt:
        bos = self._processor.tokenizer.bos_token
        asked: dict[str, Any] = dict(_ASKED)
        if bos and written.startswith(bos):
            asked["add_special_tokens"] = False
        if pictures:
            asked["images"] = [[picture.image for picture in pictures]]
        try:
            made = dict(self._processor(text=[written], **asked))
        except Exception as error:  # whatever a processor has against a picture or a text
            why = str(error).strip().splitlines() or [type(error).__name__]
            raise ConversationError(f"The model's processor can not read this conversation: {why[0]}") from error
        ids: list[int] = made.pop("input_ids")[0].tolist()
        offsets = made.pop("offset_mapping", None)
        replaced = made.pop("text_replacement_offsets", None)
        by_token = {name: made.pop(name) for name in _BY_TOKEN if name in made}
        # Without pictures some make a tensor of it, which holds nothing.
        told = replaced[0] if isinstance(replaced, list) and replaced else []
        placed = [one for one in told if one["type"] == "image"]
        ranges = _by_letters(offsets, placed) if offsets is not None and len(placed) == len(pictures) else None
        unknown = [name for name, one in made.items() if isinstance(one, Tensor) and one.shape[:2] == (1, len(ids))]
        by_token |= {name: made.pop(name) for name in unknown}
        prompt = ForeignPrompt(
            text=self.marks.shown(written.replace(self._mark, "<image>") if self._mark else written),
            ids=tuple(ids),
            by_token=by_token,
            seen=made,
            ranges=ranges if ranges is not None else self._by_ids(ids, len(pictures)),
            written=tuple(one["replacement"] for one in placed) if ranges is not None else (),
            pictures=tuple(pictures),
            cuttable=not unknown and (ranges is not None or len(pictures) < 2),
            lead="" if written[-1:].isspace() else " ",
        )
        return self._with_plain_text(prompt)

    def _by_ids(self, ids: Sequence[int], count: int) -> tuple[tuple[int, int], ...]:
        """Where pictures are, as far as their tokens tell: runs of them, or all of them shared out among all."""
        marks = {one for one in self._processor.image_token_ids if one is not None}
        places = [place for place, token in enumerate(ids) if token in marks]
        inside = set(places)
        starts = [place for place in places if place - 1 not in inside]
        if len(starts) == count:
            ends = [place + 1 for place in places if place + 1 not in inside]
            return tuple(zip(starts, ends, strict=True))
        if not places:
            return ((0, 0),) * count
        bounds = [places[0] + (places[-1] + 1 - places[0]) * at // count for at in range(count + 1)]
        return tuple(pairwise(bounds))

    def _with_plain_text(self, prompt: ForeignPrompt) -> ForeignPrompt:
        """The prompt with each stand-in replaced by the tokens of what it stands for."""
        plain = [self.marks.plain(token) for token in prompt.ids]
        if not any(one is not None for one in plain):
            return prompt
        lengths = torch.tensor([1 if one is None else len(one) for one in plain])
        starts = [0, *lengths.cumsum(0).tolist()]
        ids = [one for token, letters in zip(prompt.ids, plain, strict=True) for one in letters or (token,)]
        return replace(
            prompt,
            ids=tuple(ids),
            by_token={name: one.repeat_interleave(lengths, dim=1) for name, one in prompt.by_token.items()},
            ranges=tuple((starts[start], starts[end]) for start, end in prompt.ranges),
        )


def _by_letters(offsets: Tensor, placed: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, int], ...]:
    """The tokens that have letters of what stands in each picture's place."""
    begins, ends = offsets[0, :, 0], offsets[0, :, 1]
    ranges = []
    for one in placed:
        start, end = one["new_span"]
        inside = ((ends > start) & (begins < end)).nonzero().flatten()
        ranges.append((int(inside[0]), int(inside[-1]) + 1))
    return tuple(ranges)
