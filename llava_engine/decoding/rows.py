"""A row: one question, its answer as it grows, and the line to whoever reads it.

It is made and read by the thread that asks; in between it belongs to the thread of the scheduler. The line is a queue
that takes all that an answer can be (its context bounds that), so that no reader holds up a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from queue import SimpleQueue

from llava_engine.contract import Progress, Reply, Sampling, Stage, TokenCount
from llava_engine.conversation.tokenizer import Prompt
from llava_engine.decoding.cache import Identity
from llava_engine.decoding.sampling import Sampler
from llava_engine.decoding.text import AnswerText
from llava_engine.pictures.opening import Picture


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        prompt: ids, and where pictures stand among them.
        pictures: those that the prompt's slots count.
    """

    prompt: Prompt
    pictures: Sequence[Picture]

    @cached_property
    def identities(self) -> list[Identity]:
        """What each position is: a token, or a place in a picture."""
        identities: list[Identity] = list(self.prompt.ids)
        for slot in self.prompt.slots:
            sha256 = self.pictures[slot.picture].sha256
            identities[slot.start : slot.start + slot.length] = [(sha256, place) for place in range(slot.length)]
        return identities

    @property
    def count(self) -> TokenCount:
        """What it costs."""
        return TokenCount(len(self.prompt.ids), tuple(slot.length for slot in self.prompt.slots))


class Row:
    """One question and its answer.

    Attributes:
        question: what is asked.
        sampler: how its tokens are chosen.
        cached: positions of the prompt that were there already.
        token: the last one that was chosen, not read yet.
    """

    def __init__(
        self, question: Question, answer: AnswerText, sampling: Sampling, cancelled: Callable[[], bool]
    ) -> None:
        """Ask.

        Args:
            question: what.
            answer: takes the tokens.
            sampling: how they are chosen.
            cancelled: asked before each token, on the scheduler's thread.
        """
        self.question = question
        self.sampler = Sampler(sampling, question.identities)
        self.cached = 0
        self.token = -1
        self._answer = answer
        self._cancelled = cancelled
        self._dropped = False
        self._line: SimpleQueue[str | Progress | Reply | BaseException] = SimpleQueue()
        self._told: Progress | None = None
        self._asked_at = time.perf_counter()
        self._first_at = 0.0

    def read(self) -> Iterator[str | Progress | Reply]:
        """The answer as it comes, the `Reply` last. Whoever stops early gives the row up."""
        try:
            while True:
                item = self._line.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
                if isinstance(item, Reply):
                    return
        finally:
            self.drop()

    def drop(self) -> None:
        """Nobody reads it any more."""
        self._dropped = True

    def given_up(self) -> bool:
        """Whether it is cancelled or dropped; raises what `cancelled` raises."""
        return self._dropped or self._cancelled()

    @property
    def age_s(self) -> float:
        """Seconds since it was asked."""
        return time.perf_counter() - self._asked_at

    @property
    def over(self) -> bool:
        """Whether the answer has ended."""
        return self._answer.finish is not None

    def tell(self, stage: Stage, done: int, total: int) -> None:
        """Say how far it is, unless that was the last thing said."""
        progress = Progress(stage, done, total)
        if progress != self._told:
            self._line.put(progress if self._told else replace(progress, count=self.question.count))
            self._told = progress

    def push(self, token: int) -> None:
        """Take a token that was chosen."""
        self._first_at = self._first_at or time.perf_counter()
        self.token = token
        if piece := self._answer.push(token):
            self._line.put(piece)

    def end(self) -> None:
        """Say that it is over: by itself, or cancelled."""
        if not self.over and (rest := self._answer.end("cancelled")):
            self._line.put(rest)
        self._line.put(self._reply())

    def fail(self, error: BaseException) -> None:
        """Let whoever reads it have an error."""
        self._line.put(error)

    def _reply(self) -> Reply:
        answer, count, now = self._answer, self.question.count, time.perf_counter()
        first = self._first_at or now
        made = len(answer.ids)
        assert answer.finish is not None
        return Reply(
            text=answer.text,
            token_ids=tuple(answer.ids),
            finish_reason=answer.finish,
            prompt=self.question.prompt.text,
            prompt_tokens=count.total,
            cached_tokens=self.cached,
            completion_tokens=made,
            picture_tokens=count.pictures,
            time_to_first_token_s=first - self._asked_at,
            tokens_per_second=(made - 1) / (now - first) if made > 1 and now > first else 0.0,
        )
