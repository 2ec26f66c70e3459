"""An engine without a model: says what a test scripted, when the test lets it, and obeys `cancelled`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from llava_engine.contract import (
    EngineLike,
    FinishReason,
    LoadProgress,
    ModelCard,
    Progress,
    Reply,
    Sampling,
    TokenCount,
    never,
)
from llava_engine.conversation.conversation import Conversation
from llava_engine.errors import ContextOverflowError

Step = str | Progress | float | threading.Event | BaseException
"""A piece of text · how far it is · seconds to wait · an event to wait for · what to raise at this point."""

FAKE_CARD = ModelCard(
    name="fake",
    folder=Path("fake"),
    template="llava_v1",
    device="cpu",
    dtype="float32",
    kernel="plain",
    context_length=2048,
    picture_tokens=64,
    parameters=1_000_000,
    memory_bytes=4_000_000,
)

PATIENCE_S = 10.0
"""An event that a test forgot to set fails the test instead of hanging it."""


class FakeEngine:
    """A scripted `EngineLike`.

    Args:
        answers: what to say at the first call, the second, …; the last is said again at every further one.
        card: what it says of itself. A conversation longer than `card.context_length` is a ContextOverflowError; what
            `card.cannot` names or is None there, is not known here either.
        usage: what replies say that their prompts took, where that is not what `count` says.

    Attributes:
        conversations: what it was asked, call by call.
        samplings: how it was to sample, call by call.
        begun: how its answers were to begin, call by call.
        threads: the threads that it was called on.
        closed: whether it was closed.
    """

    def __init__(self, *answers: Sequence[Step], card: ModelCard = FAKE_CARD, usage: int | None = None) -> None:
        self._answers = answers or (("Yes", "."),)
        self._card = card
        self._usage = usage
        self.conversations: list[Conversation] = []
        self.samplings: list[Sampling] = []
        self.begun: list[str] = []
        self.threads: set[int] = set()
        self.closed = False

    @property
    def card(self) -> ModelCard:
        return self._card

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        *,
        begun: str = "",
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[str | Progress | Reply]:
        """The script of this call, then the Reply; one piece counts as one token."""
        script = self._answers[min(len(self.conversations), len(self._answers) - 1)]
        self.conversations.append(conversation)
        self.samplings.append(sampling)
        self.begun.append(begun)
        self.threads.add(threading.get_ident())
        counted = self.count(conversation)
        cost = counted or TokenCount(0, ())
        if self._card.context_length is not None and cost.total > self._card.context_length:
            raise ContextOverflowError(cost.total, self._card.context_length)
        yield Progress("reading", 0, cost.total, counted)
        said: list[str] = []
        finish_reason: FinishReason = "stop"
        for step in script:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, Progress):
                yield step
            elif isinstance(step, str):
                if cancelled():
                    finish_reason = "cancelled"
                    break
                said.append(step)
                yield step
            elif not _wait(step, cancelled):
                finish_reason = "cancelled"
                break
        yield Reply(
            text="".join(said),
            token_ids=() if "ids" in self._card.cannot else tuple(range(len(said))),
            finish_reason=finish_reason,
            prompt="" if "ids" in self._card.cannot else " ".join(one.text for one in conversation.messages),
            prompt_tokens=cost.total if self._usage is None else self._usage,
            cached_tokens=0,
            completion_tokens=len(said),
            picture_tokens=cost.pictures,
            time_to_first_token_s=0.25,
            tokens_per_second=20.0,
        )

    def count(self, conversation: Conversation, *, begun: str = "") -> TokenCount | None:
        """One token a word, `card.picture_tokens` a picture."""
        self.threads.add(threading.get_ident())
        if "count" in self._card.cannot:
            return None
        words = sum(len(message.text.split()) for message in conversation.messages) + len(begun.split())
        pictures = tuple(self._card.picture_tokens or 0 for _ in conversation.pictures)
        return TokenCount(words + sum(pictures), pictures)

    def close(self) -> None:
        self.closed = True


def fake_loader(
    engine: EngineLike, *steps: LoadProgress | threading.Event | BaseException
) -> Callable[[Callable[[LoadProgress], None]], EngineLike]:
    """A loader for `ChatSession.load`: tells progress, waits for events, raises; gives the engine at last."""

    def load(on_progress: Callable[[LoadProgress], None]) -> EngineLike:
        for step in steps:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, LoadProgress):
                on_progress(step)
            else:
                _wait(step, never)
        return engine

    return load


def _wait(step: float | threading.Event, cancelled: Callable[[], bool]) -> bool:
    """Wait for a time or an event; False when cancelled before."""
    began = time.monotonic()
    while not cancelled():
        waited = time.monotonic() - began
        if isinstance(step, threading.Event):
            if step.wait(0.001):
                return True
            if waited > PATIENCE_S:
                raise TimeoutError("the test never set the event that this answer waits for")
        elif waited >= step:
            return True
        else:
            time.sleep(min(0.001, step))
    return False
