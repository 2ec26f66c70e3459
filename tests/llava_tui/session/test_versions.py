"""Versions of questions and answers: made, flipped, and never answered out of sight."""

from __future__ import annotations

import threading

from llava_tui.session.events import (
    BranchChanged,
    Notice,
)
from tests.fakes.fake_engine import FakeEngine, fake_loader
from tests.llava_tui.session.desk import Make, ready


def test_regenerate_makes_a_version_beside_the_old_one_and_flip_goes_between_them(make: Make) -> None:
    engine = FakeEngine(("A cat.",), ("A dog.",))
    desk = ready(make(engine=engine))
    desk.ask("What is it?", "cat.png")
    first = desk.last
    desk.events.clear()
    desk.session.regenerate()
    desk.settle()
    assert desk.shown == ["What is it?", "A dog."]
    assert engine.conversations[0].messages[0].text == engine.conversations[1].messages[0].text
    second = desk.session.page()[-1]
    assert (second.version, second.versions) == (2, 2)
    assert [event.from_turn_id for event in desk.of(BranchChanged)] == [second.id]
    desk.session.flip(second.id, -1)
    assert desk.shown == ["What is it?", "A cat."]
    desk.session.flip(first, -1)
    assert desk.shown == ["What is it?", "A cat."]
    desk.session.flip(first, +1)
    assert desk.shown == ["What is it?", "A dog."]


def test_regenerating_an_earlier_answer_leaves_what_followed_the_old_one_with_it(make: Make) -> None:
    desk = ready(make(("a",), ("b",), ("c",)))
    desk.ask("one")
    first = desk.last
    desk.ask("two")
    desk.session.regenerate(first)
    desk.settle()
    assert desk.shown == ["one", "c"]
    desk.session.flip(desk.last, -1)
    assert desk.shown == ["one", "a", "two", "b"]


def test_regenerating_while_an_answer_is_written_stops_that_one(make: Make) -> None:
    desk = ready(make(("long ", threading.Event()), ("short",)))
    desk.session.send("q")
    desk.until(lambda: desk.said == "long ")
    desk.session.regenerate()
    desk.settle()
    assert desk.shown == ["q", "short"]
    desk.session.flip(desk.last, -1)
    assert [(turn.text, turn.status) for turn in desk.session.page()][1] == ("long ", "cancelled")


def test_an_edited_question_forks_and_keeps_its_pictures(make: Make) -> None:
    engine = FakeEngine(("a",), ("b",), ("c",))
    desk = ready(make(engine=engine))
    desk.ask("one", "cat.png")
    desk.ask("two")
    question = desk.session.page()[0]
    desk.session.edit(question.id, "uno")
    desk.settle()
    assert desk.shown == ["uno", "c"]
    assert len(engine.conversations[2].pictures) == 1
    assert [m.text for m in engine.conversations[2].messages] == ["uno"]
    new = desk.session.page()[0]
    assert (new.version, new.versions) == (2, 2)
    desk.session.flip(new.id, -1)
    assert desk.shown == ["one", "a", "two", "b"]


def test_an_answer_can_not_be_edited_nor_nothing_regenerated(make: Make) -> None:
    desk = ready(make(("a",)))
    desk.session.regenerate()
    desk.ask("one")
    desk.session.edit(desk.last, "x")
    desk.settle()
    assert desk.shown == ["one", "a"]
    assert len(desk.of(Notice)) == 2


def test_versions_are_not_flipped_under_a_growing_answer(make: Make) -> None:
    gate = threading.Event()
    desk = ready(make(("a",), ("b", gate)))
    desk.ask("one")
    first = desk.last
    desk.session.regenerate()
    desk.until(lambda: desk.session.page()[-1].text == "b")
    desk.session.flip(first, +1)
    gate.set()
    desk.settle()
    assert desk.shown == ["one", "b"]
    assert [event.severity for event in desk.of(Notice)] == ["warning"]


def test_a_question_that_waits_and_is_flipped_away_is_not_answered_out_of_sight(make: Make) -> None:
    gate = threading.Event()
    engine = FakeEngine(("late",))
    desk = make(engine=engine, loader=fake_loader(engine, gate))
    desk.session.send("one")
    first = desk.session.page()[0]
    desk.session.edit(first.id, "two")
    second = desk.session.page()[0]
    assert desk.session.facts.waiting
    desk.session.flip(second.id, -1)
    assert desk.shown == ["one"]
    assert not desk.session.facts.waiting
    gate.set()
    desk.until(lambda: desk.session.phase == "idle")
    desk.settle()
    assert desk.shown == ["one"]
    assert engine.conversations == []

    desk.session.flip(first.id, +1)  # it is back in sight, and still there
    assert desk.shown == ["two"]
    desk.session.regenerate()
    desk.settle()
    assert desk.shown == ["two", "late"]
