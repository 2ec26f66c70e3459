"""What is counted while an answer grows, and what a program that ends leaves."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from llava_tui.history.store import Store
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine, fake_loader
from tests.llava_tui.session.desk import Make, ready


def test_the_context_is_counted_before_during_and_after_an_answer(make: Make) -> None:
    gate = threading.Event()
    desk = ready(make(("one ", "two ", gate, "three")))
    assert desk.session.facts.context_used == 0
    assert desk.session.facts.context_total == 2048
    desk.session.attach("cat.png")
    desk.session.send("what is it")
    desk.until(lambda: desk.said == "one two ")
    desk.until(lambda: desk.session.facts.context_used is not None)
    assert desk.session.facts.context_used == 64 + 3 + 2
    assert desk.session.facts.picture_tokens == 64
    gate.set()
    desk.settle()
    facts = desk.session.facts
    assert facts.context_used == 64 + 3 + 3
    assert (facts.tokens_per_second, facts.time_to_first_token_s) == (20.0, 0.25)  # the engine's own figures
    assert facts.card == FAKE_CARD

    chat = desk.session.chat
    assert chat is not None
    desk.session.new_chat()
    assert desk.session.facts.context_used == 0
    desk.session.open_chat(chat.id)
    desk.until(lambda: desk.session.facts.context_used is not None)
    assert desk.session.facts.context_used == 64 + 3 + 3


def test_the_speed_of_one_model_is_not_told_of_another(make: Make) -> None:
    desk = ready(make(("one ", "two ", "three")))
    desk.session.send("what is it")
    desk.settle()
    assert desk.session.facts.tokens_per_second == 20.0
    desk.session.load(fake_loader(FakeEngine(card=replace(FAKE_CARD, name="another"))))
    assert desk.session.facts.time_to_first_token_s is None
    desk.until(lambda: desk.session.phase == "idle")
    facts = desk.session.facts
    assert (facts.tokens_per_second, facts.time_to_first_token_s) == (None, None)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_growing_answer_is_saved_each_second_and_not_more_often(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    gates = [threading.Event() for _ in range(3)]
    desk = ready(make(("one ", gates[0], "two ", gates[1], "three ", gates[2]), clock=clock))
    saved: list[str] = []
    update = Store.update_turn_text

    def noted(store: Store, turn_id: int, text: str) -> None:
        saved.append(text)
        update(store, turn_id, text)

    monkeypatch.setattr(Store, "update_turn_text", noted)
    desk.session.send("count")
    desk.until(lambda: desk.said == "one ")
    assert saved == []
    clock.now = 0.9
    gates[0].set()
    desk.until(lambda: desk.said == "one two ")
    assert saved == []
    clock.now = 1.0
    desk.events += desk.session.poll()
    assert saved == ["one two "]
    clock.now = 5.0
    desk.events += desk.session.poll()
    assert saved == ["one two "]  # nothing new to save
    gates[1].set()
    desk.until(lambda: desk.said == "one two three ")
    assert saved == ["one two ", "one two three "]
    other = Store.open(tmp_path)
    chat = other.last_chat()
    assert chat is not None
    assert other.turns(chat.id)[-1].text == "one two three "
    other.close()
    gates[2].set()
    desk.settle()


def test_closing_in_the_middle_of_an_answer_keeps_what_was_said(make: Make, tmp_path: Path) -> None:
    desk = ready(make(("half", threading.Event())))
    desk.session.send("q")
    desk.until(lambda: desk.said == "half")
    desk.session.close()
    store = Store.open(tmp_path)
    chat = store.last_chat()
    assert chat is not None
    assert [(turn.text, turn.status) for turn in store.turns(chat.id)][1] == ("half", "cancelled")
    store.close()
