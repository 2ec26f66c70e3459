"""A prompt is read step by step: each picture that is new, view by view, then its positions in chunks.

A step is short, so that rows that are being answered meanwhile go on between two of them. Features of recent pictures
are kept by their hash. Knows no threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from llava_engine.decoding.cache import FeatureCache, KeyValueCache
from llava_engine.decoding.rows import Question, Row
from llava_engine.decoding.steps import prefill_chunk
from llava_engine.model.budget import PREFILL_CHUNK
from llava_engine.model.llava import LlavaModel
from llava_engine.pictures.opening import Picture
from llava_engine.pictures.processing import Preprocessing

LEAST_CHUNK = 16
"""Positions. A chunk of fewer takes nearly as long: every weight is read once a chunk."""
STEP_S = 0.25
"""Seconds that a chunk may take where somebody is being answered, who waits so much longer for his next word."""


class PromptReader:
    """Reads prompts with a model.

    Attributes:
        model: the model.
        features: of the pictures seen lately.
    """

    def __init__(self, model: LlavaModel, preprocessing: Preprocessing) -> None:
        self.model = model
        self.features = FeatureCache()
        self._preprocessing = preprocessing
        self._chunk = LEAST_CHUNK

    @property
    def _device(self) -> torch.device:
        return self.model.language_model.embed_tokens.weight.device

    def read(self, row: Row, cache: KeyValueCache, hurry: Callable[[], bool]) -> Iterator[Tensor | None]:
        """Read what the cache does not hold of a row's prompt yet.

        Args:
            row: told how far it is.
            cache: its own.
            hurry: asked before each chunk: whether somebody waits for it.

        Yields:
            None after each step, and (vocab_size,) logits after the last one.

        Raises:
            CancelledError: the row was given up.
        """
        question = row.question
        features: Mapping[str, Tensor] = {}
        for known in self._see(row, _still_to_read(question, cache.length)):
            if known is None:
                yield None
            else:
                features = known
        total = len(question.prompt.ids)
        while True:
            start = cache.length
            row.tell("reading", start, total)
            hurried = hurry()
            end = min(total, start + (self._chunk if hurried else PREFILL_CHUNK))
            began = time.perf_counter()
            hidden = prefill_chunk(self.model, self._embed(question, features, start, end), cache, row.given_up)
            cache.held.extend(question.identities[start:end])
            if hurried:
                float(hidden[0, -1, 0])  # a GPU works on by itself: this waits for it
                self._took(end - start, time.perf_counter() - began)
            if end == total:
                yield self.model.language_model.logits(hidden[0, -1])
                return
            yield None

    def _took(self, tokens: int, seconds: float) -> None:
        """A chunk took so long: the next one has as many positions as take `STEP_S` at this rate.

        A chunk has a fixed cost too, so this comes to the right size from below, in a few chunks.
        """
        wanted = int(tokens / max(seconds, 1e-6) * STEP_S)
        # A chunk that was cut short by the end of its prompt says little about a whole one.
        if tokens == self._chunk or seconds > STEP_S:
            self._chunk = max(LEAST_CHUNK, min(wanted, PREFILL_CHUNK))

    def _see(self, row: Row, pictures: Sequence[Picture]) -> Iterator[Mapping[str, Tensor] | None]:
        """None after each view, then the features of all these pictures by their hash."""
        kept = {picture.sha256: self.features.get(picture.sha256) for picture in pictures}
        found = {sha256: features for sha256, features in kept.items() if features is not None}
        new = {picture.sha256: picture for picture in pictures if picture.sha256 not in found}
        for done, (sha256, picture) in enumerate(new.items()):
            row.tell("seeing", done, len(new))
            views = torch.from_numpy(self._preprocessing.views(picture)).to(self._device)
            seen = []
            for view in views.split(1):  # type: ignore[no-untyped-call]
                seen.append(self.model.encode_pictures(view))
                yield None
            found[sha256] = self.model.join_views(torch.cat(seen), (picture.size[1], picture.size[0]))
        self.features.make_room(sum(map(len, found.values())))
        for sha256, features in found.items():
            self.features.put(sha256, features)
        yield found

    def _embed(self, question: Question, features: Mapping[str, Tensor], start: int, end: int) -> Tensor:
        """(1, end - start, hidden_size): the embeddings of these positions of a prompt."""
        x = self.model.embed(torch.tensor([question.prompt.ids[start:end]], device=self._device), None)
        for slot in question.prompt.slots:
            first, last = max(start, slot.start), min(end, slot.start + slot.length)
            if first < last:
                seen = features[question.pictures[slot.picture].sha256]
                x[0, first - start : last - start] = seen[first - slot.start : last - slot.start].to(x.dtype)
        return x


def _still_to_read(question: Question, length: int) -> list[Picture]:
    """The pictures of which a cache of this length does not hold all."""
    return [question.pictures[slot.picture] for slot in question.prompt.slots if slot.start + slot.length > length]
