"""One answer on its way from the thread that makes it to the one that reads it.

The reader has the last word: what it has been given when it cancels is the answer, however far the maker is.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from llava_engine.backends.transformers.prompt import ForeignPrompt
from llava_engine.contract import FinishReason, Progress, Reply, Sampling
from llava_engine.conversation.conversation import Conversation

_LOOK_S = 0.05  # how often a reader who waits asks whether it was cancelled


@dataclass(frozen=True)
class Said:
    """A piece of text, and how many tokens there were with it."""

    text: str
    tokens: int


class Job:
    """An answer that was asked for.

    Args:
        conversation, sampling, begun, cancelled: as `EngineLike.stream`'s.

    Attributes:
        stop: set when nobody wants it any more.
    """

    def __init__(
        self, conversation: Conversation, sampling: Sampling, begun: str, cancelled: Callable[[], bool]
    ) -> None:
        self.conversation = conversation
        self.sampling = sampling
        self.begun = begun
        self.stop = threading.Event()
        self._cancelled = cancelled
        self._items: queue.SimpleQueue[Progress | Said | Reply | BaseException] = queue.SimpleQueue()
        self._start = time.perf_counter()
        self._times: list[float] = []
        self._ids: list[int] = []
        self._prompt: ForeignPrompt | None = None
        self._cached = 0

    # The thread that makes it

    def over(self) -> bool:
        """Whether it is to end."""
        return self.stop.is_set() or self._cancelled()

    def begin(self, prompt: ForeignPrompt, cached: int) -> None:
        """The prompt is known, and how much of it was read before."""
        self._prompt, self._cached = prompt, cached

    def say(self, text: str, ids: list[int]) -> None:
        """Hand over a piece, and all tokens until now."""
        if len(ids) > len(self._times):
            self._times.append(time.perf_counter())
            self._ids.append(ids[-1])
        if text:
            self._items.put(Said(text, len(ids)))

    def put(self, item: Progress | Reply | BaseException) -> None:
        """Hand over anything else."""
        self._items.put(item)

    def reply(self, text: str, finish: FinishReason, tokens: int | None = None) -> Reply:
        """The reply, with so many of the tokens."""
        times, prompt = self._times[:tokens], self._prompt
        took = times[-1] - times[0] if times else 0.0
        return Reply(
            text=text,
            token_ids=tuple(self._ids[:tokens]),
            finish_reason=finish,
            prompt=prompt.text if prompt else "",
            prompt_tokens=len(prompt.ids) if prompt else 0,
            cached_tokens=self._cached,
            completion_tokens=len(times),
            picture_tokens=tuple(end - start for start, end in prompt.ranges) if prompt else (),
            time_to_first_token_s=(times[0] if times else time.perf_counter()) - self._start,
            tokens_per_second=(len(times) - 1) / took if took > 0 else 0.0,
        )

    # The thread that reads it

    def read(self, made: Future[None]) -> Iterator[str | Progress | Reply]:
        """All that is handed over, and a reply at the end.

        Args:
            made: done when nothing more will come.

        Raises:
            BaseException: what went wrong in making it.
        """
        said: list[str] = []
        tokens, cut = 0, False
        while True:
            if not cut and self._cancelled():
                cut = True
                self.stop.set()
                if made.cancel():
                    yield self.reply("", "cancelled", 0)
                    return
            try:
                item = self._items.get(timeout=_LOOK_S)
            except queue.Empty:
                if made.cancelled():  # the engine was closed
                    yield self.reply("", "cancelled", 0)
                    return
                continue
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, Progress):
                yield item
            elif isinstance(item, Said):
                if cut:
                    continue  # made before the maker saw it
                said.append(item.text)
                tokens = item.tokens
                yield item.text
            else:
                text = "".join(said)
                yield item if item.text == text else self.reply(text, "cancelled", tokens)
                return
