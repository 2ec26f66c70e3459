"""One answer on its way from the engine's thread to the event loop.

An engine is a plain iterator and blocks; here it runs on a thread of its own, and what it says is taken on the loop,
many pieces at once where the loop was slower. Cancelling is heard by the engine at its next token.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from llava_engine.contract import EngineLike, Progress, Reply, Sampling
from llava_engine.conversation.conversation import Conversation
from llava_engine.server.metrics import Metrics

Item = str | Reply


class RunningAnswer:
    """An answer that `run` gets from the engine, on a thread, and `take` hands on, on the loop."""

    def __init__(self, metrics: Metrics, arrived: float) -> None:
        """`arrived` is when its request came, by `time.monotonic`."""
        self._metrics = metrics
        self._last = arrived
        self._loop = asyncio.get_running_loop()
        self._items: deque[Item] = deque()
        self._news = asyncio.Event()
        self._told = False  # the loop knows already that there is news
        self._error: BaseException | None = None
        self._over = False
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Let it end at the next token."""
        self._cancelled.set()

    async def take(self, timeout_s: float) -> Sequence[Item]:
        """What has come since; nothing when that took too long. The last item is the `Reply`.

        Raises:
            BaseException: what the engine raised, once all that it said before is taken.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not self._items and not self._over:
                    await self._news.wait()
                    self._news.clear()
                    self._told = False
        except TimeoutError:
            return ()
        self._told = False
        taken = []
        while self._items:
            taken.append(self._items.popleft())
        if not taken and self._error is not None:
            raise self._error
        return taken

    def run(
        self,
        engine: EngineLike,
        conversation: Conversation,
        sampling: Sampling,
        begun: str,
        left: Callable[[], None],
    ) -> None:
        """Get it from the engine; on a thread. `left` is called on the loop when the engine is done with it."""
        reason, counts = "failed", {"pictures": len(conversation.pictures)}
        first = True
        try:
            for item in engine.stream(conversation, sampling, begun=begun, cancelled=self._cancelled.is_set):
                if isinstance(item, Progress):
                    continue
                if isinstance(item, Reply):
                    reason = item.finish_reason
                    counts |= {
                        "prompt_tokens": item.prompt_tokens,
                        "cached_tokens": item.cached_tokens,
                        "completion_tokens": item.completion_tokens,
                    }
                else:
                    now = time.monotonic()
                    (self._metrics.first_token if first else self._metrics.between).add(now - self._last)
                    self._last, first = now, False
                self._hand_on(item)
                if isinstance(item, Reply):
                    break  # whoever takes ends with it, whatever else an engine would say
            if reason == "failed":
                raise RuntimeError("the engine's stream ended without a Reply")
        except BaseException as error:  # told to whoever takes
            self._error = error
        self._over = True
        self._metrics.ended(reason, **counts)
        self._on_loop(self._news.set)
        self._on_loop(left)

    def _hand_on(self, item: Item) -> None:
        self._items.append(item)
        if not self._told:
            self._told = True
            self._on_loop(self._news.set)

    def _on_loop(self, action: Callable[[], None]) -> None:
        if not self._loop.is_closed():  # the server ended before the engine did
            self._loop.call_soon_threadsafe(action)
