"""An engine without a model that many threads ask at once: it echoes, and fails where a test says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from llava_engine.contract import GREEDY, Progress, Reply, Sampling, TokenCount, never
from llava_engine.conversation.conversation import Conversation
from llava_engine.errors import OutOfMemoryError
from llava_engine.plan import Place, Plan
from tests.fakes.fake_engine import FAKE_CARD

PLAN = Plan((Place("cpu", 1000),), (), "float32", "none", 2048)


class CrowdEngine:
    """An `EngineLike` whose answer to "x" is "x!".

    Args:
        slots: what its card says.
        troubles: what makes the errors that are raised, try by try, before a question is answered; by its last text.
        memory: at most so many at once fit; one more is an OutOfMemoryError for whoever came last.
        company: an answer ends when so many are being given, or when nobody comes for a while.

    Attributes:
        asked: the texts, in the order in which they came, each try.
        begun: how the answers were to begin, in that order.
        most: how many were being answered at once, at most.
    """

    def __init__(
        self,
        slots: int = 1,
        troubles: Mapping[str, Sequence[Callable[[], BaseException]]] | None = None,
        *,
        memory: int | None = None,
        company: int = 1,
    ) -> None:
        self.card = replace(FAKE_CARD, slots=slots)
        self.asked: list[str] = []
        self.begun: list[str] = []
        self.most = 0
        self._troubles = {text: list(errors) for text, errors in (troubles or {}).items()}
        self._memory = memory
        self._company = company
        self._changed = threading.Condition()
        self._inside = 0

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling = GREEDY,
        *,
        begun: str = "",
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[str | Progress | Reply]:
        text = conversation.messages[-1].text
        with self._changed:
            self.asked.append(text)
            self.begun.append(begun)
            self._inside += 1
            self.most = max(self.most, self._inside)
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: cancelled() or self.most >= self._company, timeout=0.2)
                if self._memory is not None and self._inside > self._memory:
                    raise OutOfMemoryError("Memory ran out.", "Buy more.", PLAN)
                if self._troubles.get(text):
                    raise self._troubles[text].pop(0)()
            finally:
                self._inside -= 1
        if text == "hang":
            while not cancelled():
                threading.Event().wait(0.001)
        yield Progress("reading", 0, 3, TokenCount(3, ()))
        yield f"{text}!"
        yield Reply(
            text=f"{text}!",
            token_ids=(1,),
            finish_reason="cancelled" if cancelled() else "stop",
            prompt=text,
            prompt_tokens=3,
            cached_tokens=0,
            completion_tokens=1,
            picture_tokens=(),
            time_to_first_token_s=0.1,
            tokens_per_second=10.0,
        )

    def count(self, conversation: Conversation, *, begun: str = "") -> TokenCount | None:
        return None

    def close(self) -> None:
        pass
