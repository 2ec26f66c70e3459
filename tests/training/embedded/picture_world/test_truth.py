"""Every answer against a second reckoning of it: the question is read, and answered from the scene anew."""

from __future__ import annotations

import random

import pytest

from tests.training.embedded.picture_world.readings import reckoned, turned
from training.embedded.picture_world.exchanges import Order
from training.embedded.picture_world.questions import FAMILIES, exchanges
from training.embedded.picture_world.scenes import random_scene

UNSEEN = {"unknowable", "unknown_thing", "talk"}  # one fixed answer, whatever is in the picture


@pytest.mark.parametrize("order", ["fact", "verdict"])
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in UNSEEN])
def test_answers_are_those_of_a_second_reckoning(family: str, order: Order, count: int = 120) -> None:
    rng, asked = random.Random(f"{family} {order}"), 0
    while asked < count:
        scene = random_scene(rng, max_items=6)
        try:
            said = exchanges(scene, rng, n=6, families=[family], wordings="plain", order=order)
        except ValueError:
            continue
        for exchange in said:
            asked += 1
            answer = exchange.answer.rstrip(".").lower()
            expected = reckoned(scene, family, exchange.question, order)
            if expected:
                if family in ("most", "ground"):  # these are reckoned fact first only
                    answer = turned(answer)
                assert answer in expected, (exchange, expected, scene)


@pytest.mark.slow
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in UNSEEN])
def test_ten_thousand_answers(family: str) -> None:
    for order in ("fact", "verdict"):
        test_answers_are_those_of_a_second_reckoning(family, order, 5000)  # type: ignore[arg-type]
