"""Rows that come and go at any step get, in float32, the very tokens that each of them gets alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import llava_engine
from llava_engine import Conversation, Message, Reply, Sampling, open_picture
from llava_engine.decoding.rows import Row
from llava_engine.engine import Engine
from tests.llava_engine import test_engine_mpt
from tests.llava_engine.originals import write, write_tower
from tests.llava_engine.tiny import TINY, complete

SHOWN = [open_picture(Image.new("RGB", size, colour)) for size, colour in (((70, 50), "red"), ((40, 90), "blue"))]
LONG = "Look at this for a while, and then tell me all that there is to be seen in it, from left to right. "
# Beginnings that are the same for so long that they are worth a copy, pictures, and none of either.
QUESTIONS = [
    Conversation((Message.user("Hi"),)),
    Conversation((Message.user(LONG + "Quickly!"),)),
    Conversation((Message.user(LONG + "Slowly."),)),
    Conversation((Message.user("What is it?", SHOWN[:1]),)),
    Conversation((Message.user("What are they?", SHOWN), Message.assistant("Two."), Message.user(LONG))),
    Conversation((Message.user(LONG, SHOWN[1:]),)),
]
WAYS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.2, "seed": 7},
    {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "seed": 1},
    {"repetition_penalty": 1.4},
    {"temperature": 1.0, "repetition_penalty": 0.8, "seed": 3},
]


@dataclass(frozen=True)
class Asked:
    """A question of a schedule.

    Attributes:
        question, way: of the lists above.
        most: new tokens at most.
        joins: after so many calls of the model.
        leaves: cancelled once it has so many tokens; None for never.
    """

    question: int
    way: int
    most: int
    joins: int
    leaves: int | None


asked = st.builds(
    Asked,
    st.integers(0, len(QUESTIONS) - 1),
    st.integers(0, len(WAYS) - 1),
    st.integers(1, 14),
    st.integers(0, 25),
    st.none() | st.none() | st.integers(0, 10),
)


def llama(folder: Path) -> Path:
    return complete(TINY, folder / "llama")


def mpt(folder: Path) -> Path:
    write_tower(folder / "somewhere" / "eyes")
    return write(folder / "mpt", test_engine_mpt.CONFIG, test_engine_mpt.tensors(), added=test_engine_mpt.MARKS)


class Model:
    """One model in engines of several numbers of slots, and what it says to each question alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engines = {slots: llava_engine.load(folder, device="cpu", slots=slots) for slots in (1, 2, 4)}
        self._alone: dict[tuple[int, int], Reply] = {}

    def alone(self, one: Asked) -> tuple[tuple[int, ...], str]:
        """The tokens and the reason of the end, of a cold run by itself."""
        key = (one.question, one.way)
        if key not in self._alone:
            engine = llava_engine.load(self.folder, device="cpu", slots=1)
            *_, reply = engine.stream(QUESTIONS[one.question], Sampling(max_new_tokens=14, **WAYS[one.way]))
            assert isinstance(reply, Reply) and reply.cached_tokens == 0
            self._alone[key] = reply
        ids, finish = self._alone[key].token_ids, self._alone[key].finish_reason
        if one.leaves is not None and one.leaves < min(one.most, len(ids) + (finish == "stop")):
            return ids[: one.leaves], "cancelled"
        return ids[: one.most], "length" if one.most <= len(ids) else finish


@pytest.fixture(scope="module", params=[llama, mpt], ids=lambda make: make.__name__)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    made = Model(request.param(tmp_path_factory.mktemp("models")))
    yield made
    for engine in made.engines.values():
        engine.close()


def run(engine: Engine, schedule: Sequence[Asked]) -> list[Reply]:
    """Each question joins after its number of calls of the model, from the model's own thread."""
    scheduler = engine._open_scheduler()
    rows = [row_of(engine, one) for one in schedule]
    left = list(zip(schedule, rows, strict=True))
    calls = 0

    def join(*_: Any) -> None:
        nonlocal calls
        calls += 1
        for one in [one for one in left if one[0].joins <= calls]:
            left.remove(one)
            scheduler.submit(one[1])

    hook = engine._model.language_model.layers[0].register_forward_pre_hook(join)
    replies = {}
    try:
        while len(replies) < len(rows):
            # Where nothing runs that would let others join, the next one comes by itself.
            waiting = {id(row) for _, row in left}
            row = next((row for row in rows if row not in replies and id(row) not in waiting), None)
            if row is None:
                _, row = left.pop(0)
                scheduler.submit(row)
            *_, reply = row.read()
            assert isinstance(reply, Reply)
            replies[row] = reply
    finally:
        hook.remove()
    return [replies[row] for row in rows]


def row_of(engine: Engine, one: Asked) -> Row:
    taken: list[int] = []
    cancelled: Callable[[], bool] = lambda: one.leaves is not None and len(taken) >= one.leaves  # noqa: E731
    row = engine._row(QUESTIONS[one.question], Sampling(max_new_tokens=one.most, **WAYS[one.way]), cancelled=cancelled)
    push = row.push

    def counted(token: int) -> None:
        taken.append(token)
        push(token)

    row.push = counted  # type: ignore[method-assign]
    return row


schedules = given(
    schedule=st.lists(asked, min_size=1, max_size=9),
    slots=st.sampled_from([1, 2, 4]),
    step=st.sampled_from([1e-9, 0.3]),
    chunk=st.sampled_from([24, 512]),
)


@settings(max_examples=8)
@schedules
def test_tokens_are_those_of_single_runs(
    model: Model, schedule: list[Asked], slots: int, step: float, chunk: int
) -> None:
    check(model, schedule, slots, step, chunk)


@pytest.mark.slow
@settings(max_examples=200)
@schedules
def test_two_hundred_schedules(model: Model, schedule: list[Asked], slots: int, step: float, chunk: int) -> None:
    check(model, schedule, slots, step, chunk)


def check(model: Model, schedule: list[Asked], slots: int, step: float, chunk: int) -> None:
    """Run a schedule, and compare it with its questions one by one."""
    engine = model.engines[slots]
    with (
        patch("llava_engine.decoding.reading.STEP_S", step),
        patch("llava_engine.decoding.reading.PREFILL_CHUNK", chunk),
    ):
        before = engine.activity()
        replies = run(engine, schedule)
    for one, reply in zip(schedule, replies, strict=True):
        assert (reply.token_ids, reply.finish_reason) == model.alone(one)
        assert 0 <= reply.cached_tokens < reply.prompt_tokens == engine.count(QUESTIONS[one.question]).total  # type: ignore[union-attr]
        assert reply.completion_tokens == len(reply.token_ids)
    after = engine.activity()
    assert (after.running, after.waiting) == (0, 0)
    assert after.answers - before.answers == len(schedule)
    assert engine._open_scheduler()._slots.free == slots
    generated = after.generated_tokens - before.generated_tokens
    assert generated >= sum(len(reply.token_ids) for reply in replies)
    assert after.cached_tokens - before.cached_tokens == sum(reply.cached_tokens for reply in replies)
