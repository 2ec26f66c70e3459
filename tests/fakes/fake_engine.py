"""An engine without a model: says what a test scripted, when the test lets it, and obeys `cancelled`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from llava_engine.contract import (
    EngineLike,
    LoadProgress,
    ModelCard,
    Reply,
    Sampling,
    TokenCount,
    never,
)
from llava_engine.conversation.messages import Conversation

Step = str | float | threading.Event | BaseException
"""A piece of text · seconds to wait · an event to wait for · what to raise at this point."""

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


class FakeEngine:
    """A scripted `EngineLike`.

    Args:
        answers: what to say at the first call, the second, …; the last is said again at every further one.
        card: what it says of itself. A conversation longer than `card.context_length` is a ContextOverflowError.

    Attributes:
        conversations: what it was asked, call by call.
        samplings: how it was to sample, call by call.
    """

    def __init__(self, *answers: Sequence[Step], card: ModelCard = FAKE_CARD) -> None:
        raise NotImplementedError

    @property
    def card(self) -> ModelCard:
        raise NotImplementedError

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        *,
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[str | Reply]:
        """The script of this call, then the Reply; one piece counts as one token."""
        raise NotImplementedError

    def count(self, conversation: Conversation) -> TokenCount:
        """One token a word, `card.picture_tokens` a picture."""
        raise NotImplementedError


def fake_loader(
    engine: EngineLike, *steps: LoadProgress | threading.Event | BaseException
) -> Callable[[Callable[[LoadProgress], None]], EngineLike]:
    """A loader for `ChatSession.load`: tells progress, waits for events, raises; gives the engine at last."""
    raise NotImplementedError
