"""Many readers of one engine: nobody holds up another, whoever fails fails alone, and nothing is left behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from PIL import Image

from llava_engine import (
    BusyError,
    Conversation,
    EngineAwayError,
    Message,
    Progress,
    Reply,
    Sampling,
    open_picture,
)
from llava_engine.decoding.rows import Row
from llava_engine.engine import Engine
from llava_engine.model.vision import VisionTower
from tests.llava_engine.decoding.readers import ENDLESS, WORDS, ask, eventually, idle, load, run, started

RED = open_picture(Image.new("RGB", (70, 50), "red"))


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
    with endings() as ended:
        streams = started(engine, *WORDS[:3], sampling=ENDLESS)
        assert engine.activity().running == 3
        waiting = [engine.stream(ask(text), ENDLESS) for text in WORDS[3:]]
        firsts = [next(stream) for stream in waiting]
        assert all(isinstance(first, Progress) and first.count is not None for first in firsts)
        for stream in [*streams, *waiting]:
            stream.close()  # type: ignore[attr-defined]
        assert eventually(lambda: idle(engine))
    assert "cancelled" in ended()
    assert run(engine, ask(WORDS[0])) == alone[WORDS[0]]


def test_dropping_the_iterator_is_enough(engine: Engine) -> None:
    with endings() as ended:
        started(engine, *WORDS[:4], sampling=ENDLESS)
        gc.collect()
        assert eventually(lambda: idle(engine))
    assert "cancelled" in ended()


def test_pictures_that_were_answered_about_are_let_go(engine: Engine) -> None:
    picture = open_picture(Image.new("RGB", (40, 30), "green"))
    list(engine.stream(Conversation((Message.user("What?", [picture]),)), Sampling(max_new_tokens=5)))
    alive = weakref.ref(picture)
    del picture
    assert eventually(lambda: alive() is None)


@contextmanager
def endings() -> Iterator[Callable[[], list[str]]]:
    """Why the rows ended that ended meanwhile, whether somebody read it or not."""
    with patch.object(Row, "end", autospec=True, side_effect=Row.end) as end:
        yield lambda: [reply.finish_reason for (row,), _ in end.call_args_list for reply in left(row)]


def left(row: Row) -> list[Reply]:
    """The reply that nobody took."""
    items = []
    while not row._line.empty():
        items.append(row._line.get())
    return [item for item in items if isinstance(item, Reply)]


def test_whoever_waits_learns_how_many_are_before(folder: Path) -> None:
    engine = load(folder, 1)
    (running,) = started(engine, WORDS[0], sampling=ENDLESS)
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
    with pytest.raises(BusyError, match=r"wait already \(1\)") as caught:
        next(engine.stream(ask(WORDS[2])))
    assert caught.value.retry_after_s > 0
    running.close()  # type: ignore[attr-defined]
    assert isinstance(list(waiting)[-1], Reply)
    assert eventually(lambda: idle(engine))
    engine.most_waiting = 0
    assert run(engine, ask(WORDS[2]))  # a free slot is no queue


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
