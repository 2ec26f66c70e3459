"""Continuous batching: rows join, are read, decode together and leave, a step at a time, on one thread.

A step is: those that were given up leave; the next one gets a slot; one step of its prompt is read; every running row
gets one token (Yu et al. 2022, Orca). One prompt is read at a time, in the order in which they came, so a later one
finds what an earlier one of the same picture has read. Whatever goes wrong with a row ends that row. Knows no text.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor

from llava_engine.contract import Activity
from llava_engine.decoding.cache import KeyValueCache
from llava_engine.decoding.reading import PromptReader
from llava_engine.decoding.rows import Row
from llava_engine.decoding.sampling import choose
from llava_engine.decoding.slots import Slots
from llava_engine.decoding.steps import CancelledError, decode
from llava_engine.errors import BusyError, EngineAwayError, OutOfMemoryError
from llava_engine.model.out_of_memory import clear_out_of_memory
from llava_engine.plan import Plan

_USUAL_S = 5.0  # of an answer, before one was given
_PATIENCE_S = 10.0  # with a step that is going on when the engine is closed


class _Reading(NamedTuple):
    row: Row
    cache: KeyValueCache
    steps: Iterator[Tensor | None]


class Scheduler:
    """Answers rows, on a thread of its own that starts with the first one and ends with `close`.

    Attributes:
        reader: reads prompts, with the model that decodes.
        most_waiting: how many rows may wait for a slot; None for any number.
    """

    def __init__(self, reader: PromptReader, slots: Slots, plan: Plan) -> None:
        """Make it.

        Args:
            reader: see above.
            slots: where keys and values are kept.
            plan: of the model's memory; goes with the error when that runs out.
        """
        self.most_waiting: int | None = None
        self.reader = reader
        self._slots = slots
        self._plan = plan
        self._changed = threading.Condition()  # guards the next four; all others belong to the thread
        self._arrived: list[Row] = []
        self._open = 0  # rows that have come and not ended
        self._closed = False
        self._thread: threading.Thread | None = None
        self._waiting: deque[Row] = deque()
        self._reading: _Reading | None = None
        self._running: dict[Row, KeyValueCache] = {}  # the newest last
        self._answers = self._steps = self._prompt_tokens = self._cached_tokens = self._generated_tokens = 0
        self._answer_s = _USUAL_S
        _ALIVE.add(self)

    def submit(self, row: Row) -> None:
        """Take a row; its reader learns the rest.

        Raises:
            BusyError: too many wait already.
            EngineAwayError: it is closed.
        """
        with self._changed:
            if self._closed:
                raise EngineAwayError("This engine was closed.", "Load the model again.")
            waiting = self._open - len(self._slots)
            if self.most_waiting is not None and waiting >= self.most_waiting:
                seconds = self._answer_s * (waiting + 1) / len(self._slots)
                raise BusyError(f"Too many questions wait already ({max(0, waiting)}).", seconds)
            self._open += 1
            self._arrived.append(row)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="llava-engine", daemon=True)
                self._thread.start()
            self._changed.notify()

    def activity(self) -> Activity:
        """What it does now, and did until now."""
        return Activity(
            running=len(self._running) + (self._reading is not None),
            waiting=len(self._arrived) + len(self._waiting),
            answers=self._answers,
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            generated_tokens=self._generated_tokens,
            steps=self._steps,
        )

    def close(self) -> None:
        """End every row as if it were cancelled, and the thread; free what is kept. It may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread, reading = self._thread, self._reading
        if reading is not None:
            reading.row.drop()  # which is heard between two layers
        if thread is not None and thread is not threading.current_thread():
            thread.join(_PATIENCE_S)

    def _run(self) -> None:
        with torch.inference_mode():
            while self._something_to_do():
                try:
                    self._leave_given_up()
                    self._admit()
                    running = dict(self._running)  # who joins in this step has a token of it from its prompt
                    self._read()
                    self._decode(running)
                    del running  # who waits for the next one holds no pictures of the last
                except BaseException as error:  # a defect of ours: whoever is concerned learns of it, and it goes on
                    self._fail_all(error)
        self._end_all()

    def _something_to_do(self) -> bool:
        """Wait until there is; False once it is closed."""
        with self._changed:
            while not (self._closed or self._arrived or self._waiting or self._reading or self._running):
                self._changed.wait()
            self._waiting.extend(self._arrived)
            self._arrived.clear()
            return not self._closed

    def _leave_given_up(self) -> None:
        for row in [*self._waiting, *self._running]:  # the one that is read is asked while it is
            try:
                if not row.given_up():
                    continue
            except BaseException as error:  # `cancelled` may raise anything: a row that stays would raise it for ever
                self._leave(row, error)
            else:
                self._leave(row)

    def _admit(self) -> None:
        """Give the next one a slot, where there is one and none is being read."""
        while self._waiting and self._reading is None and self._slots.free:
            row = self._waiting[0]
            try:
                with clear_out_of_memory("answering", self._plan):
                    cache = self._slots.take(row.question.identities)
            except Exception as error:  # memory ran out, or a defect: a slot may hold half a copy
                self._free_what_is_kept()
                self._leave(row, error)
                continue
            self._waiting.popleft()
            row.cached = cache.length
            self._prompt_tokens += len(row.question.identities)
            self._cached_tokens += cache.length
            self._reading = _Reading(row, cache, self.reader.read(row, cache, lambda: bool(self._running)))
        for place, row in enumerate(self._waiting):
            row.tell("waiting", place, len(self._waiting))

    def _read(self) -> None:
        if self._reading is None:
            return
        row, cache, steps = self._reading
        try:
            with clear_out_of_memory("answering", self._plan):
                logits = next(steps)
                if logits is None:
                    return
                (token,) = choose(logits.unsqueeze(0), [row.sampler])
        except CancelledError:
            self._leave(row)
        except OutOfMemoryError as error:
            self._leave(row, error)
            self._free_what_is_kept()
        except BaseException as error:  # a picture that can not be read, and all else that comes of this prompt
            self._leave(row, error)
        else:
            self._running[row] = cache
            self._reading = None
            self._take(row, token)

    def _decode(self, running: Mapping[Row, KeyValueCache]) -> None:
        if not running:
            return
        rows, caches = list(running), list(running.values())
        try:
            with clear_out_of_memory("answering", self._plan):
                logits = decode(self.reader.model, [row.token for row in rows], caches)
                tokens = choose(logits, [row.sampler for row in rows])
        except OutOfMemoryError as error:
            self._leave(rows[-1], error)
            self._free_what_is_kept()
            return
        self._steps += 1
        for row, cache, token in zip(rows, caches, tokens, strict=True):
            cache.held.append(row.token)
            self._take(row, token)

    def _take(self, row: Row, token: int | Exception) -> None:
        """A running row's next token, or why it has none."""
        if isinstance(token, Exception):
            self._leave(row, token)
            return
        self._generated_tokens += 1
        try:
            row.push(token)
        except Exception as error:
            self._leave(row, error)
            return
        if row.over:
            self._leave(row)

    def _leave(self, row: Row, error: BaseException | None = None) -> None:
        """Let a row go, wherever it is. After an error nothing of its slot is kept."""
        cache = self._running.pop(row, None)
        if self._reading is not None and self._reading.row is row:
            cache, self._reading = self._reading.cache, None
        elif cache is None:
            self._waiting.remove(row)
        if cache is not None and error is None:
            cache.mend()
            self._slots.give_back(cache)
        elif cache is not None:
            self._slots.drop(cache)
        with self._changed:
            self._open -= 1
        self._answers += 1
        self._answer_s += (row.age_s - self._answer_s) / 8
        try:
            if error is None:
                row.end()
        except Exception as defect:  # whatever happens, its reader waits for the last word
            error = defect
        if error is not None:
            row.fail(error)

    def _free_what_is_kept(self) -> None:
        """Memory ran out in the middle of a step: let go of all that no row needs, and take the step back."""
        self._slots.forget()
        self.reader.features.clear()
        for cache in self._running.values():
            cache.mend()

    def _fail_all(self, error: BaseException) -> None:
        for row in [*([self._reading.row] if self._reading else []), *self._running]:
            self._leave(row, error)

    def _end_all(self) -> None:
        for row in [*self._waiting, *([self._reading.row] if self._reading else []), *self._running]:
            self._leave(row)
        self._slots.forget()
        self.reader.features.clear()

    def begin_anew(self) -> None:
        """In a child process, to which no thread comes along: rows of the parent's are none of ours."""
        rows = [*self._arrived, *self._waiting, *([self._reading.row] if self._reading else []), *self._running]
        self._changed, self._thread, self._open = threading.Condition(), None, 0
        self._arrived, self._waiting, self._reading, self._running = [], deque(), None, {}
        self._slots.renew()
        for row in rows:
            row.fail(EngineAwayError("This answer is being given in the parent process."))


_ALIVE: WeakSet[Scheduler] = WeakSet()


def _after_fork() -> None:
    for scheduler in list(_ALIVE):
        scheduler.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
