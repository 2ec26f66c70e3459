"""Many questions, any engine: as many at once as it gives answers, a bounded number open at a time, none lost.

For evaluation and data generation. Knows an engine by its contract only, so it serves a model in this process and one
behind a network alike. What goes wrong with one question is that question's outcome and never the end of the others.
"""

from __future__ import annotations

import heapq
import queue
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Generic, Self

from llava_engine.chat import PictureSource
from llava_engine.contract import GREEDY, EngineLike, Reply, Sampling, never
from llava_engine.conversation.conversation import Conversation
from llava_engine.errors import BusyError, EngineAwayError, OutOfMemoryError
from llava_engine.questions import Answered, Key, Opener, Question

AHEAD = 2
"""So many questions beyond those being answered have their pictures opened already."""

WINDOW = 256
"""So many questions are looked at together, to ask those about one picture one after another. They are not open yet."""

BUSY_S = 600.0
"""Seconds that one question waits for a busy engine in all, before its outcome is that the engine is busy."""

LOST = 3
"""So many questions, one after another, that could not reach the engine at any try: it is gone."""

_POLL_S = 0.05


def answer_all(
    engine: EngineLike,
    questions: Iterable[Question[Key]],
    sampling: Sampling = GREEDY,
    *,
    window: int = WINDOW,
    cancelled: Callable[[], bool] = never,
    tell: Callable[[str], None] = lambda line: None,
    away_waits_s: Sequence[float] = (1.0, 2.0, 4.0),
) -> Iterator[Answered[Key]]:
    """Ask many questions, and yield what became of each, once, as they end: not in the order of the questions.

    However many there are, at most `card.slots` + `AHEAD` conversations are open and `window` questions known, and no
    more are asked than the caller takes answers. A busy engine is waited for as long as it says. Where memory runs out,
    half as many are asked at once from then on, and the one that failed is asked again.

    Args:
        engine: answers.
        questions: taken from as they are needed, on the caller's thread.
        sampling: how tokens are chosen, where a question does not say.
        window: so many questions are sorted by their places.
        cancelled: asked every 50 ms; then it ends, what is being answered is dropped, and no thread is left. So it is
            where the caller closes the iterator.
        tell: is given a line, on the caller's thread, where something slows it down: memory, an engine busy or away.
        away_waits_s: seconds before each further try to reach an engine that is away.

    Raises:
        EngineAwayError: three questions, one after another, could not reach the engine at any try.
    """
    waiting = _neighbours(questions, max(1, window))
    desk: _Desk[Key] = _Desk(engine, sampling, tuple(away_waits_s))
    with desk:
        while not cancelled():
            while desk.busy < desk.places and (question := next(waiting, None)) is not None:
                desk.submit(question)
            if not desk.busy:
                return
            item = desk.take()
            if isinstance(item, str):
                tell(item)
            elif item is not None:
                yield item


def answers_in_order(
    engine: EngineLike, questions: Sequence[tuple[str, Sequence[PictureSource]]], sampling: Sampling = GREEDY
) -> list[Reply]:
    """The replies to texts and their pictures, in the order of the questions.

    Raises:
        LlavaError: one of them can not be answered; what is being answered then is dropped.
    """
    asked = (Question.about(number, text, pictures) for number, (text, pictures) in enumerate(questions))
    replies: dict[int, Reply] = {}
    for one in answer_all(engine, asked, sampling):
        if isinstance(one.outcome, Exception):
            raise one.outcome
        replies[one.key] = one.outcome
    return [replies[number] for number in range(len(questions))]


def _neighbours(questions: Iterable[Question[Key]], window: int) -> Iterator[Question[Key]]:
    remaining = iter(questions)
    while known := sorted(islice(remaining, window), key=lambda question: question.place, reverse=True):
        while known:
            yield known.pop()  # not kept longer than it is needed


class _StoppedError(Exception):
    """Nobody wants the answer any more."""


class _Desk(Generic[Key]):
    """The threads that ask: each opens one question's pictures, waits at the gate, asks, and takes the next.

    Attributes:
        places: how many questions it takes at a time.
        busy: how many it has.
    """

    def __init__(self, engine: EngineLike, sampling: Sampling, away_waits_s: Sequence[float]) -> None:
        slots = max(1, engine.card.slots)
        self.places = slots + AHEAD
        self.busy = 0
        self._engine = engine
        self._sampling = sampling
        self._away_waits_s = away_waits_s
        self._gate = _Gate(slots)
        self._open = Opener(self.places)
        self._stopped = threading.Event()
        self._came: queue.SimpleQueue[Answered[Key] | str | Future[None]] = queue.SimpleQueue()
        self._tickets = iter(range(1 << 62))
        self._lost = 0
        self._pool = ThreadPoolExecutor(self.places, thread_name_prefix="llava-many")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._gate.close()
        self._pool.shutdown(cancel_futures=True)

    def submit(self, question: Question[Key]) -> None:
        """Ask this when its turn comes."""
        self.busy += 1
        self._pool.submit(self._work, question, next(self._tickets)).add_done_callback(self._came.put)

    def take(self) -> Answered[Key] | str | None:
        """What became of a question, or a line about the engine; None after 50 ms without either."""
        try:
            item = self._came.get(timeout=_POLL_S)
        except queue.Empty:
            return None
        if isinstance(item, Future):
            self.busy -= 1
            item.result()  # what is no `Exception` is no outcome of a question: it ends all, as it would here
            return None
        if isinstance(item, Answered):
            if isinstance(item.outcome, Reply):
                self._lost = 0
            elif isinstance(item.outcome, EngineAwayError):
                self._lost += 1
                if self._lost == LOST:
                    raise item.outcome
        return item

    def _work(self, question: Question[Key], ticket: int) -> None:
        """On a thread: ask a question and those that follow from it, all with the same place at the gate."""
        following: Question[Key] | None = question
        while following is not None:
            asked, following = following, None
            try:
                reply, following = self._one(asked, ticket)
            except _StoppedError:
                return
            except Exception as error:  # this question's; the caller decides what it means
                _let_go(error)
                self._came.put(Answered(asked.key, error))
            else:
                self._came.put(Answered(asked.key, reply))

    def _one(self, question: Question[Key], ticket: int) -> tuple[Reply, Question[Key] | None]:
        conversation = question.conversation(self._open)
        reply = self._ask(question, conversation, ticket)
        return reply, None if question.then is None else question.then(conversation, reply)

    def _ask(self, question: Question[Key], conversation: Conversation, ticket: int) -> Reply:
        """The reply, tried for again where that may help; raises what does not go away."""
        away_waits_s, left_s = iter(self._away_waits_s), BUSY_S
        while True:
            width = self._gate.enter(ticket)
            try:
                return self._stream(question, conversation)
            except OutOfMemoryError:
                if width == 1:
                    raise  # it was alone
                wait_s = 0.0
                if narrowed := self._gate.narrow(width):
                    self._came.put(f"Memory ran out: {narrowed} at once from now on.")
            except BusyError as error:
                wait_s = max(_POLL_S, error.retry_after_s)
                left_s -= wait_s
                if left_s < 0:
                    raise
                self._came.put(f"{error.cause} Asking again in {wait_s:.0f} s.")
            except EngineAwayError as error:
                if (next_s := next(away_waits_s, None)) is None:
                    raise
                wait_s = next_s
                self._came.put(f"{error.cause} Asking again in {wait_s:.0f} s.")
            finally:
                self._gate.leave()
            if self._stopped.wait(wait_s):
                raise _StoppedError

    def _stream(self, question: Question[Key], conversation: Conversation) -> Reply:
        sampling = question.sampling or self._sampling
        stream = self._engine.stream(conversation, sampling, begun=question.begun, cancelled=self._stopped.is_set)
        replies = [item for item in stream if isinstance(item, Reply)]
        if self._stopped.is_set():
            raise _StoppedError
        if not replies:
            raise RuntimeError("the engine's stream ended without a Reply")
        return replies[-1]


class _Gate:
    """Lets in so many at once, the lowest ticket first; fewer after memory ran out."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._inside = 0
        self._waiting: list[int] = []
        self._changed = threading.Condition()
        self._closed = False

    def enter(self, ticket: int) -> int:
        """Wait for one's turn; how many may be inside. Raises `_StoppedError` when it closes."""
        with self._changed:
            heapq.heappush(self._waiting, ticket)
            self._changed.wait_for(lambda: self._closed or (self._inside < self._width and self._waiting[0] == ticket))
            if self._closed:
                raise _StoppedError
            heapq.heappop(self._waiting)
            self._inside += 1
            self._changed.notify_all()
            return self._width

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def narrow(self, width: int) -> int | None:
        """Half of `width` from now on; None where somebody else has narrowed it since."""
        with self._changed:
            if width != self._width:
                return None
            self._width = width // 2
            return self._width

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _let_go(error: BaseException | None) -> None:
    """Clear the variables along an error's way, which would keep pictures in memory; the lines of its way stay."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
