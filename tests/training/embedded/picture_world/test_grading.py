"""Right and wrong answers, as models give them."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from training.embedded.picture_world.dialogues import dialogue
from training.embedded.picture_world.exchanges import Exchange
from training.embedded.picture_world.grading import grade
from training.embedded.picture_world.questions import FAMILIES, exchanges
from training.embedded.picture_world.scenes import random_scene
from training.embedded.picture_world.talk import DO_NOT_KNOW, no_picture

TWO = "There are two red circles and a blue star."
RIGHT = [
    ("Yes, the circle is filled.", "The circle is filled, so yes."),
    ("The circle is red and the star is blue, so no.", "No, the star is blue and the circle is red."),
    ("The circle and the star are the same size, so yes.", "Yes, the star and the circle are the same size."),
    ("There are two hollow things.", "there are 2 hollow things"),
    ("There are two things that are not red.", "There are 2 things that are not red"),
    ("There are as many cats as cars.", "There are as many cars as cats."),
    ("In the first picture there is a red cat.", "in the first picture there is a red cat"),
    ("Both pictures have a cat and a car.", "Both pictures have a car and a cat."),
    ("The star is the biggest, so yes.", "Yes, the star is the largest."),
    (TWO, "there are two red circles and a blue star"),
    (TWO, "There is a blue star and 2 red circles."),
    (TWO, "There is one blue star, and two red circles in the picture."),
    ("There are two grey cats, a red car and a blue star.", "There is a red car, a blue star and two gray cats!"),
    ("Yes, there is a star.", "Yes."),
    ("Yes, there is a star.", "There is a star."),
    ("The circle is to the left of the star, so yes.", "yes, the circle is left of the star"),
    ("The circle is to the left of the star, so yes.", "The star is to the right of the circle, so yes."),
    ("The circle is at the top left.", "the circle is in the top left corner"),
    ("The circles are red and blue.", "The circles are blue and red."),
    ("There are no cats.", "There is no cat in the picture."),
    ("The cat is bigger than the car.", "The car is smaller than the cat."),
    ("To the left of the circle there is nothing.", "Left of the circle there is nothing."),
    ("Yes, I am sure. The star is blue.", "The star is blue."),
    (DO_NOT_KNOW, DO_NOT_KNOW.lower()),
]
WRONG = [
    ("Yes, the circle is filled.", "No, the circle is filled."),
    ("Yes, the circle is filled.", "Yes, the circle is hollow."),
    ("The circle is red and the star is blue, so no.", "The circle is blue and the star is red, so no."),
    ("The circle and the star are the same size, so yes.", "Yes, the circle and the cat are the same size."),
    ("There are two hollow things.", "There are two filled things."),
    ("There are two things that are not red.", "There are two things that are not blue."),
    ("There are two things on the left.", "There are two things on the right."),
    ("There are two colours.", "There are two kinds of things."),
    ("There are more cats than cars.", "There are more cars than cats."),
    ("In the first picture there is a red cat.", "In the second picture there is a red cat."),
    ("The first picture has more cats.", "The second picture has more cats."),
    ("Only the first picture has a cat.", "Both pictures have a cat."),
    ("The star is the biggest, so yes.", "The star is the smallest, so yes."),
    ("The other star is blue.", "The other star is red."),
    (TWO, "There are two red circles."),
    (TWO, "There are two red circles, a blue star and a cat."),
    (TWO, "There are three red circles and a blue star."),
    (TWO, "There is a red circle and a blue star."),
    (TWO, "There are two red circles and a green star."),
    (TWO, "There are two red circles and a blue star and a blue star."),
    (TWO, "Yes."),
    (TWO, ""),
    (TWO, "two red circles two red"),
    ("Yes, there is a star.", "No, there is a star."),
    ("Yes, there is a star.", "Yes, there is a circle."),
    ("No, there is no star.", "Yes, there is no star."),
    ("No, there is no star.", "Yes, there is a star."),
    ("The circle is to the left of the star, so yes.", "The circle is to the right of the star, so yes."),
    ("The circle is to the left of the star, so yes.", "The circle is to the left of the star, so no."),
    ("The circle is to the left of the star.", "The star is to the left of the circle."),
    ("The circle is at the top left.", "The circle is at the top."),
    ("The circle is at the top left.", "The star is at the top left."),
    ("The circles are red and blue.", "The circles are red."),
    ("The circles are red.", "The circle is red."),
    ("The red thing is a cat.", "The red thing is a car."),
    ("The cat is bigger than the car.", "The cat is smaller than the car."),
    ("The colours are red and blue.", "The colours are red, blue and green."),
    ("Yes, I am sure. The star is blue.", "Yes."),
    ("Yes, I am sure. The star is blue.", "Yes, I am sure. The star is red."),
    (DO_NOT_KNOW, "The star is blue."),
    ("The background is white.", "The background is black."),
]


@pytest.mark.parametrize(("right", "said"), RIGHT)
def test_other_words_for_the_same_are_right(right: str, said: str) -> None:
    assert grade(Exchange("", "", right), said)


@pytest.mark.parametrize(("right", "said"), WRONG)
def test_something_else_is_wrong(right: str, said: str) -> None:
    assert not grade(Exchange("", "", right), said)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32))
def test_reference_answers_grade_right_and_each_others_wrong(seed: int) -> None:
    rng = random.Random(seed)
    scene = random_scene(rng, max_items=6)
    said = exchanges(scene, rng, n=8, families=list(FAMILIES)) + dialogue(scene, rng, turns=3) + [no_picture(rng)]
    for exchange in said:
        assert grade(exchange, exchange.answer), exchange
        assert grade(exchange, exchange.answer.upper().rstrip(".")), exchange
        assert not grade(exchange, exchange.answer + " There is a dog."), exchange


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_descriptions_of_scenes_with_other_items_grade_wrong(seed: int, other_seed: int) -> None:
    one, other = (random_scene(random.Random(number), max_items=4) for number in (seed, other_seed))
    assume(sorted(item.pair for item in one.items) != sorted(item.pair for item in other.items))
    mine, theirs = (exchanges(s, random.Random(0), n=1, families=["describe"])[0] for s in (one, other))
    assert not grade(mine, theirs.answer)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_any_text_can_be_graded(said: str) -> None:
    assert not grade(Exchange("", "", TWO), said)
