"""What goes wrong is told, and the conversation goes on."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llava_engine.contract import LoadProgress
from llava_engine.errors import ModelError, OutOfMemoryError
from llava_engine.plan import Part, Place, Plan
from llava_tui.history.store import Store
from llava_tui.session.events import (
    Notice,
)
from llava_tui.session.session import ChatSession
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine, fake_loader
from tests.llava_tui.session.desk import Desk, Make, open_source, ready


def test_a_users_error_is_a_notice_and_the_conversation_goes_on(make: Make) -> None:
    engine = FakeEngine(("yes",), card=replace(FAKE_CARD, context_length=10))
    desk = ready(make(engine=engine))
    desk.ask("word " * 11)
    (notice,) = desk.of(Notice)
    assert "11 tokens" in notice.cause
    assert notice.remedy
    failed = desk.session.page()[-1]
    assert (failed.status, failed.text) == ("failed", "")
    assert "11 tokens" in failed.error
    desk.ask("short")
    assert desk.shown[-1] == "yes"
    assert [m.text for m in engine.conversations[1].messages] == ["short"]


def test_a_bug_in_the_engine_leaves_a_report_and_the_conversation_goes_on(make: Make) -> None:
    reported: list[BaseException] = []

    def report(error: BaseException) -> Path:
        reported.append(error)
        return Path("crash.txt")

    bug = RuntimeError("shape mismatch")
    desk = ready(make(("so far", bug), ("yes",), report_bug=report))
    desk.ask("q")
    assert reported == [bug]
    (notice,) = desk.of(Notice)
    assert "shape mismatch" in notice.cause
    assert "crash.txt" in notice.remedy
    assert [(turn.text, turn.status) for turn in desk.session.page()][1] == ("so far", "failed")
    desk.ask("again")
    assert desk.shown[-1] == "yes"


def test_a_model_that_can_not_be_loaded_is_a_notice_and_another_may_be_loaded(make: Make) -> None:
    engine = FakeEngine(("yes",))
    desk = make(loader=fake_loader(engine, ModelError("There is no folder x.", "Check the path.")))
    desk.session.send("hello")
    desk.until(lambda: desk.session.phase == "no_model")
    desk.settle()
    assert [notice.cause for notice in desk.of(Notice)] == ["There is no folder x."]
    desk.session.load(fake_loader(engine))
    desk.until(lambda: desk.session.phase != "loading")
    desk.settle()
    assert desk.shown == ["hello", "yes"]


PLAN = Plan((Place("cpu", 2**33),), (Part("layers", 0, 2**34, (0, 32)),), "bfloat16", "none", 2048)


def test_memory_that_runs_out_is_told_with_the_plan_and_the_chat_goes_on(make: Make) -> None:
    no_memory = OutOfMemoryError("Memory ran out.", "Try a smaller context.", PLAN)
    desk = ready(make(("so far", no_memory), ("yes",)))
    desk.ask("one")
    (notice,) = desk.of(Notice)
    assert notice.cause == "Memory ran out."
    assert notice.remedy.startswith("Try a smaller context.")
    assert "layers" in notice.remedy and "needs 16.0 GiB; 8.0 GiB may be used" in notice.remedy
    desk.ask("two")
    assert desk.shown[-1] == "yes"


def test_a_model_that_does_not_fit_leaves_the_app_alive(make: Make) -> None:
    engine = FakeEngine(("yes",))
    desk = make(loader=fake_loader(engine, OutOfMemoryError("It does not fit.", "Try --quantize int8.", PLAN)))
    desk.until(lambda: desk.session.phase == "no_model")
    desk.settle()
    assert [notice.cause for notice in desk.of(Notice)] == ["It does not fit."]
    desk.session.load(fake_loader(engine))
    desk.ask("hello")
    assert desk.shown == ["hello", "yes"]


def test_another_model_does_not_wait_for_the_memory_of_the_old_one(make: Make) -> None:
    engine = FakeEngine(("yes",))
    desk = ready(make(engine=engine))
    desk.ask("hello")
    there, alive = weakref.ref(engine), []

    def loader(on_progress: Callable[[LoadProgress], None]) -> FakeEngine:
        gc.collect()
        alive.append(there() is not None)
        return FakeEngine(("another",))

    del engine
    desk.session.load(loader)
    desk.ask("again")
    assert desk.shown[-1] == "another"
    assert alive == [False]


def test_another_load_cancels_the_one_under_way(make: Make) -> None:
    gate, far = threading.Event(), LoadProgress("reading weights", 1, 10)
    first, second = FakeEngine(("first",)), FakeEngine(("second",))
    desk = make(loader=fake_loader(first, far, gate, far, ValueError("it went on")))
    desk.until(lambda: desk.session.facts.progress == far)
    desk.session.load(fake_loader(second))
    gate.set()
    desk.ask("who")
    assert desk.shown == ["who", "second"]
    assert not desk.of(Notice)


def test_a_disk_that_fails_is_a_notice_and_the_chat_goes_on_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    session = ChatSession(Store.open(tmp_path / "file"), open_source=open_source)
    desk = Desk(session)
    session.load(fake_loader(FakeEngine(("yes",))))
    desk.ask("q", "cat.png")
    desk.until(lambda: session.phase == "idle")
    desk.settle()
    assert desk.shown == ["q", "yes"]
    assert len(desk.of(Notice)) == 1
    assert not session.facts.saved
    session.close()
