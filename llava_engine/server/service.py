"""The engine behind the API: whether it is there, who is at it, and what is kept for requests to come.

Lives on one event loop. Knows requests as plain data; HTTP is the endpoints' business.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import get_args

from llava_engine.contract import EngineLike, ModelCard, Sampling
from llava_engine.errors import ContextOverflowError
from llava_engine.server.conversation import Draft
from llava_engine.server.metrics import Metrics
from llava_engine.server.pictures import Pictures
from llava_engine.server.places import Places, closing
from llava_engine.server.problems import Problem
from llava_engine.server.protocol import PictureMode
from llava_engine.server.running_answer import Item, RunningAnswer
from llava_engine.server.settings import Settings

_LOADING_S = 5
_LONG_S = 3600.0


@dataclass(frozen=True)
class Question:
    """What is to be answered.

    Attributes:
        draft: the conversation, its pictures not opened yet.
        sampling: how to choose tokens.
        mode: what is done to pictures first.
        arrived: when it came, by `time.monotonic`.
    """

    draft: Draft
    sampling: Sampling
    mode: PictureMode
    arrived: float


class Service:
    """One engine for many clients.

    Attributes:
        settings: what it was told.
        metrics: what it has done.
        pictures: those of late.
        in_flight: how many requests are being read, wait or are answered.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.pictures = Pictures(settings)
        self.in_flight = 0
        self._engine: EngineLike | None = None
        self._places = Places(1, settings.queue)
        self._threads: ThreadPoolExecutor | None = None
        self._answers: set[RunningAnswer] = set()
        self._fingerprint = ""
        self._started = int(time.time())

    def ready(self, engine: EngineLike) -> None:
        """From now on it answers."""
        slots = engine.card.slots
        self._places = Places(slots, self.settings.queue)
        self._threads = ThreadPoolExecutor(slots, "answers")
        self._fingerprint = _fingerprint(engine.card)
        self._engine = engine

    @property
    def state(self) -> str:
        """ "loading", "ok" or "draining"."""
        if self._places.closed:
            return "draining"
        return "loading" if self._engine is None else "ok"

    @property
    def engine(self) -> EngineLike:
        """The engine; raises `Problem` while it is loaded or the server ends."""
        if self._places.closed:
            raise closing()
        if self._engine is None:
            raise Problem(503, "loading", "The model is being loaded.", retry_after_s=_LOADING_S)
        return self._engine

    @property
    def name(self) -> str:
        """What the model is called here."""
        return self.settings.name or self.engine.card.name

    @property
    def fingerprint(self) -> str:
        """Of what computes: two answers to one question may differ where it differs."""
        return self._fingerprint

    @property
    def most_in_flight(self) -> int:
        """Beyond what is answered and waits, some more may be read at once."""
        slots = 1 if self._engine is None else self._engine.card.slots
        return slots + self.settings.queue + 16

    def check_model(self, name: str | None) -> None:
        """Raises `Problem` when a request wants another model."""
        if name is not None and name not in (self.name, self.engine.card.name):
            raise Problem(
                404, "model_not_found", f"There is no model of that name; here is {self.name}.", param="model"
            )

    def model(self) -> dict[str, object]:
        """What `/v1/models` says of the model."""
        card = self.engine.card
        return {
            "id": self.name,
            "object": "model",
            "created": self._started,
            "owned_by": "llava",
            "max_model_len": card.context_length,
            "picture_tokens": card.picture_tokens,
            "tiles": card.tiles,
            "max_pictures": self.settings.max_pictures,
            "template": card.template,
            "slots": card.slots,
            "preprocess": [mode for mode in get_args(PictureMode) if mode != "default"],
            "votes": self.settings.votes is not None,
        }

    def gauges(self) -> dict[str, tuple[str, float]]:
        """What is true now, for the metrics."""
        return {
            "running": ("Answers that are being given.", self._places.running),
            "waiting": ("Requests that wait for a place.", self._places.waiting),
            "in_flight": ("Requests that are read, wait or are answered.", self.in_flight),
            "kept_picture_bytes": ("Memory of pictures that are kept.", self.pictures.kept_bytes),
        }

    def check_room(self) -> None:
        """Raises `Problem` when a question would not even be let into the queue."""
        _ = self.engine
        self._places.check()

    async def begin(self, question: Question) -> tuple[RunningAnswer, Sequence[Item]]:
        """Open pictures, wait for a place, ask the engine, and wait until it says something.

        Cancelling this, at any time, lets nothing go on but what ends by itself at the next token.

        Returns:
            The answer, and the first of it.

        Raises:
            Problem, LlavaError: it can not be answered; nothing was said yet.
        """
        self._check_turns(question.draft)
        pictures = await self.pictures.open(question.draft.pictures, question.mode)
        conversation = question.draft.conversation(pictures)
        places = self._places
        entered = await places.enter()
        answer = RunningAnswer(self.metrics, question.arrived)
        room = 0

        def left() -> None:
            self._answers.discard(answer)
            self.pictures.give_back(room)
            places.leave(entered)

        try:
            room = await self.pictures.take_room(pictures)
            await self.pictures.look_at(pictures, question.mode)
            engine, threads = self.engine, self._threads
            assert threads is not None
            self._answers.add(answer)
            threads.submit(answer.run, engine, conversation, question.sampling, question.draft.begun, left)
        except BaseException:
            left()
            raise
        try:
            while True:
                items = await answer.take(_LONG_S)
                if items:
                    return answer, items
        except BaseException:
            answer.cancel()
            raise

    async def count(self, draft: Draft) -> int:
        """What a conversation costs as a prompt, in tokens, with the beginning of its answer.

        Raises:
            Problem, LlavaError: it can not be written, or the engine does not know.
        """
        self._check_turns(draft)
        pictures = await self.pictures.open(draft.pictures, "default")
        count = await asyncio.to_thread(self.engine.count, draft.conversation(pictures), begun=draft.begun)
        if count is None:
            raise Problem(501, "not_supported", "This engine does not know what a conversation costs.")
        return count.total

    def _check_turns(self, draft: Draft) -> None:
        """A turn takes a token at least; a million of them would take minutes to be written, only to be refused."""
        limit = self.engine.card.context_length
        if limit is not None and len(draft.turns) > limit:
            raise ContextOverflowError(len(draft.turns), limit, at_least=True)

    def drain(self) -> None:
        """Take nothing new, and send those away who wait."""
        self._places.close()

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing is read."""
        return not self._places.running and not self.in_flight

    def cancel_all(self) -> None:
        """Let every answer end at its next token."""
        for answer in self._answers:
            answer.cancel()

    def close(self) -> None:
        """Free everything, the engine too."""
        self.cancel_all()
        self.pictures.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._engine is not None:
            self._engine.close()


def _fingerprint(card: ModelCard) -> str:
    """Model, kernel and version, by all that the card says of them."""
    about = (card.name, card.template, card.parameters, card.memory_bytes, card.dtype, card.device, card.kernel)
    return f"fp_{hashlib.sha256(repr((version('llava'), *about)).encode()).hexdigest()[:12]}"
