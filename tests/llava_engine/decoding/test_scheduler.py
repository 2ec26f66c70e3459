"""Many readers of one engine: nobody holds up another, whoever fails fails alone, and nothing is left behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from PIL import Image

import llava_engine
from llava_engine import (
    BusyError,
    Conversation,
    EngineAwayError,
    Message,
    ModelError,
    OutOfMemoryError,
    PictureError,
    Progress,
    Reply,
    Sampling,
    open_picture,
)
from llava_engine.engine import Engine
from llava_engine.model.vision import VisionTower
from llava_engine.pictures.processing import Preprocessing
from tests.llava_engine.tiny import TINY, complete

WORDS = [f"Question {number} of them all" for number in range(8)]
RED = open_picture(Image.new("RGB", (70, 50), "red"))
LONG = Sampling(max_new_tokens=90, temperature=1.5, seed=4)  # drawn, so that it does not end by itself


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return complete(TINY, tmp_path_factory.mktemp("models") / "tiny")


def load(folder: Path, slots: int) -> Engine:
    return llava_engine.load(folder, device="cpu", slots=slots)


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    made = load(folder, 4)
    yield made
    made.close()


def ask(text: str) -> Conversation:
    return Conversation((Message.user(text),))


def run(engine: Engine, conversation: Conversation, most: int = 6) -> tuple[int, ...]:
    *_, reply = engine.stream(conversation, Sampling(max_new_tokens=most))
    assert isinstance(reply, Reply)
    return reply.token_ids


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, tuple[int, ...]]:
    """What the model says to each of these words, asked by themselves."""
    engine = load(folder, 1)
    return {text: run(engine, ask(text)) for text in WORDS}


def started(engine: Engine, *texts: str, sampling: Sampling = LONG) -> list[Iterator[Any]]:
    """Streams that are being answered, one after the other."""
    streams = []
    for text in texts:
        streams.append(engine.stream(ask(text), sampling))
        while not isinstance(next(streams[-1]), str):
            pass
    return streams


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it comes true; the machine may be busy."""
    until = time.monotonic() + 30
    while not true() and time.monotonic() < until:
        time.sleep(0.01)
    return true()


def idle(engine: Engine) -> bool:
    activity = engine.activity()
    return (activity.running, activity.waiting) == (0, 0) and engine._open_scheduler()._slots.free == engine.card.slots


@pytest.mark.parametrize("slots", [1, 2])
def test_two_chats_in_one_thread(folder: Path, slots: int) -> None:
    engine = load(folder, slots)
    first = engine.chat(max_new_tokens=20).send("a")
    begun = next(first)
    second = "".join(engine.chat(max_new_tokens=20).send("b"))
    assert begun + "".join(first) == "".join(load(folder, 1).chat(max_new_tokens=20).send("a"))
    assert second == "".join(load(folder, 1).chat(max_new_tokens=20).send("b"))


def test_sixty_four_threads_at_once(folder: Path, engine: Engine, alone: dict[str, tuple[int, ...]]) -> None:
    with ThreadPoolExecutor(64) as pool:
        said = list(pool.map(lambda text: run(engine, ask(text)), WORDS * 8))
    assert said == [alone[text] for text in WORDS] * 8
    assert eventually(lambda: idle(engine))
    activity = engine.activity()
    assert activity.answers == 64
    assert activity.steps < activity.generated_tokens - 64  # they were answered together


def test_readers_who_go_away_free_their_slots(engine: Engine, alone: dict[str, tuple[int, ...]]) -> None:
    streams = started(engine, *WORDS[:3])
    assert engine.activity().running == 3
    waiting = [engine.stream(ask(text), LONG) for text in WORDS[3:]]
    firsts = [next(stream) for stream in waiting]
    assert all(isinstance(first, Progress) and first.count is not None for first in firsts)
    for stream in [*streams, *waiting]:
        stream.close()  # type: ignore[attr-defined]
    assert eventually(lambda: idle(engine))
    assert run(engine, ask(WORDS[0])) == alone[WORDS[0]]


def test_dropping_the_iterator_is_enough(engine: Engine) -> None:
    started(engine, *WORDS[:4])
    gc.collect()
    assert eventually(lambda: idle(engine))


def test_whoever_waits_learns_how_many_are_before(folder: Path) -> None:
    engine = load(folder, 1)
    (running,) = started(engine, WORDS[0], sampling=Sampling(max_new_tokens=None, temperature=1.5, seed=4))
    second, third = (engine.stream(ask(text), Sampling(max_new_tokens=3)) for text in WORDS[1:3])
    firsts = [next(second), next(third)]
    assert [(first.stage, first.done) for first in firsts if isinstance(first, Progress)] == [
        ("waiting", 0),
        ("waiting", 1),
    ]
    running.close()  # type: ignore[attr-defined]
    stages = [item.stage for item in third if isinstance(item, Progress)]
    assert stages[0] == "waiting" and stages[-1] == "reading"


def test_more_than_may_wait_are_refused(folder: Path) -> None:
    engine = load(folder, 1)
    engine.most_waiting = 1
    (running,) = started(engine, WORDS[0])
    waiting = engine.stream(ask(WORDS[1]), Sampling(max_new_tokens=3))
    next(waiting)
    with pytest.raises(BusyError, match="1 questions wait") as caught:
        next(engine.stream(ask(WORDS[2])))
    assert caught.value.retry_after_s > 0
    running.close()  # type: ignore[attr-defined]
    assert isinstance(list(waiting)[-1], Reply)
    assert eventually(lambda: idle(engine))
    engine.most_waiting = 0
    assert run(engine, ask(WORDS[2]))  # a free slot is no queue


def test_a_row_without_numbers_ends_alone(engine: Engine, alone: dict[str, tuple[int, ...]]) -> None:
    norm, broken = engine._model.language_model.norm, []

    def spoil(module: Any, args: Any, hidden: torch.Tensor) -> torch.Tensor | None:
        if len(hidden) == 3 and not broken:
            broken.append(True)
            return torch.cat([hidden[:1], hidden[1:2] * float("nan"), hidden[2:]])
        return None

    with gathered(engine, 3) as texts, norm.register_forward_hook(spoil):
        results = texts(WORDS[:3])
    assert broken
    failed = [result for result in results if isinstance(result, ModelError)]
    assert len(failed) == 1 and "no numbers" in failed[0].cause
    said = {text: result for text, result in zip(WORDS, results, strict=False) if not isinstance(result, Exception)}
    assert said == {text: alone[text] for text in said} and len(said) == 2
    assert eventually(lambda: idle(engine))


@pytest.mark.parametrize("layer", [0, 2])
def test_when_memory_runs_out_the_newest_row_ends(
    engine: Engine, alone: dict[str, tuple[int, ...]], layer: int
) -> None:
    failed = []

    def no_memory(module: Any, args: Any) -> None:
        if len(args[0]) == 3 and not failed:
            failed.append(list(engine._open_scheduler()._running)[-1])
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    with (
        gathered(engine, 3) as texts,
        engine._model.language_model.layers[layer].register_forward_pre_hook(no_memory),
    ):
        results = texts(WORDS[:3])
    assert failed
    errors = [isinstance(result, OutOfMemoryError) for result in results]
    assert sum(errors) == 1
    newest = failed[0].question.prompt.text
    assert WORDS[errors.index(True)] in newest
    for text, result in zip(WORDS, results, strict=False):
        assert isinstance(result, OutOfMemoryError) or result == alone[text]
    assert run(engine, ask(WORDS[3])) == alone[WORDS[3]]
    assert eventually(lambda: idle(engine))


def test_a_defect_reaches_everybody_and_the_next_question_is_answered(
    engine: Engine, alone: dict[str, tuple[int, ...]]
) -> None:
    def fail(module: Any, args: Any) -> None:
        if len(args[0]) == 3:
            raise ZeroDivisionError("a defect")

    with gathered(engine, 3) as texts, engine._model.language_model.layers[1].register_forward_pre_hook(fail):
        assert [type(result) for result in texts(WORDS[:3])] == [ZeroDivisionError] * 3
    assert run(engine, ask(WORDS[0])) == alone[WORDS[0]]
    assert eventually(lambda: idle(engine))


def test_a_broken_picture_ends_its_own_row(engine: Engine, alone: dict[str, tuple[int, ...]]) -> None:
    (running,) = started(engine, WORDS[1])
    with (
        patch.object(Preprocessing, "views", side_effect=PictureError("It can not be decoded.")),
        pytest.raises(PictureError),
    ):
        run(engine, Conversation((Message.user("What?", [RED]),)))
    assert isinstance(list(running)[-1], Reply)
    assert run(engine, ask(WORDS[0])) == alone[WORDS[0]]


def test_what_cancelled_raises_is_its_readers(engine: Engine) -> None:
    (running,) = started(engine, WORDS[1])
    with pytest.raises(ZeroDivisionError):
        list(engine.stream(ask(WORDS[0]), cancelled=lambda: 1 // 0 == 1))
    assert isinstance(list(running)[-1], Reply)


def test_a_picture_that_two_need_at_once_is_seen_once(engine: Engine) -> None:
    asked = [Conversation((Message.user(text, [RED]),)) for text in WORDS[:4]]
    with (
        patch.object(VisionTower, "forward", autospec=True, side_effect=VisionTower.forward) as tower,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda one: run(engine, one), asked))
    assert tower.call_count == 1


def test_what_a_running_row_has_read_is_copied(engine: Engine) -> None:
    text = "The same beginning, longer than sixty-four letters, which is read once and no more: "
    streams = started(engine, text + "one")
    *_, reply = engine.stream(ask(text + "two"), Sampling(max_new_tokens=3))
    assert isinstance(reply, Reply)
    assert reply.cached_tokens > len(text)
    cold = load(Path(engine.card.folder or ""), 1)
    assert reply.token_ids == run(cold, ask(text + "two"), 3)
    assert isinstance(list(streams[0])[-1], Reply)


def test_closing_ends_answers_and_the_thread(folder: Path) -> None:
    engine = load(folder, 1)
    (running,) = started(engine, WORDS[0])
    waiting = engine.stream(ask(WORDS[1]))
    next(waiting)
    thread = engine._open_scheduler()._thread
    engine.close()
    engine.close()
    for stream in (running, waiting):
        reply = list(stream)[-1]
        assert isinstance(reply, Reply) and reply.finish_reason == "cancelled"
    assert thread is not None and not thread.is_alive()
    with pytest.raises(EngineAwayError):
        next(engine.stream(ask("a")))


def test_an_engine_that_nobody_holds_frees_its_model(folder: Path) -> None:
    engine = load(folder, 2)
    started(engine, WORDS[0])
    model, thread = weakref.ref(engine._model), engine._open_scheduler()._thread
    del engine
    gc.collect()
    assert thread is not None and eventually(lambda: not thread.is_alive())
    gc.collect()
    assert eventually(lambda: model() is None)


_LEAVING = """
import sys, llava_engine
engine = llava_engine.load(sys.argv[1], device="cpu")
stream = engine.stream(
    llava_engine.Conversation((llava_engine.Message.user("a"),)),
    llava_engine.Sampling(max_new_tokens=None, temperature=1.5, seed=4),
)
print([type(next(stream)).__name__ for _ in range(2)], flush=True)
"""


def test_leaving_in_the_middle_of_an_answer(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LEAVING, str(folder)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "['Progress', 'str']\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_process_answers_by_itself(engine: Engine, alone: dict[str, tuple[int, ...]]) -> None:
    (running,) = started(engine, WORDS[1])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with pytest.raises(EngineAwayError):
                list(running)
            code = 0 if run(engine, ask(WORDS[0])) == alone[WORDS[0]] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert isinstance(list(running)[-1], Reply)


class gathered:
    """Lets so many rows decode together: the first ones wait, before their second token, until all have come."""

    def __init__(self, engine: Engine, count: int) -> None:
        self._engine, self._count = engine, count

    def __enter__(self) -> Callable[[list[str]], list[Any]]:
        scheduler = self._engine._open_scheduler()
        decode = scheduler._decode
        came = threading.Event()

        def wait(running: Any) -> None:
            if came.is_set() or len(running) == self._count:
                came.set()
                decode(running)

        self._patch = patch.object(scheduler, "_decode", wait)
        self._patch.start()

        def texts(asked: list[str]) -> list[Any]:
            def one(text: str) -> Any:
                try:
                    return run(self._engine, ask(text))
                except Exception as error:
                    return error

            with ThreadPoolExecutor(len(asked)) as pool:
                return list(pool.map(one, asked))

        return texts

    def __exit__(self, *_: object) -> None:
        self._patch.stop()
