"""Questions and answers about scenes whose answers are known by hand, and what holds for all of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.embedded.picture_world.dialogues import dialogue
from training.embedded.picture_world.exchanges import Exchange, mention_targets
from training.embedded.picture_world.phrases import Mention
from training.embedded.picture_world.questions import CORE, FAMILIES, exchanges
from training.embedded.picture_world.scenes import HELD_OUT_PAIRS, Item, Scene, random_scene
from training.embedded.picture_world.talk import no_picture, small_talk

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
SCENE = Scene(
    (
        Item("star", "blue", 0.85, 0.2, 0.1, BLUE),
        Item("circle", "red", 0.15, 0.15, 0.1, RED),
        Item("circle", "red", 0.2, 0.85, 0.1, RED),
        Item("house", "red", 0.85, 0.85, 0.13, RED),
    ),
    *(96, 96),
    WHITE,
)


def answers(family: str, word: str, scene: Scene = SCENE) -> set[str]:
    """Every answer of a family to questions in plain words that hold `word`."""
    asked = exchanges(scene, random.Random(0), n=900, families=[family], wordings="plain")
    return {exchange.answer for exchange in asked if word in exchange.question}


@pytest.mark.parametrize(
    ("family", "word", "expected"),
    [
        ("describe", "picture", {"There are two red circles, a blue star and a red house."}),
        ("exist", "blue star", {"Yes, there is a blue star."}),
        ("exist", "a red circle?", {"Yes, there are two red circles."}),
        ("exist", " a moon", {"No, there is no moon."}),
        ("count", "many red things", {"There are three red things."}),
        ("count", "many circles", {"There are two circles."}),
        ("count", "many blue stars", {"There is one blue star."}),
        ("count", "many things are there?", {"There are four things."}),
        ("colour", "colour is the star", {"The star is blue."}),
        ("colour", "colour are the circles", {"The circles are red."}),
        ("refuse", "colour is the cat", {"There is no cat in the picture."}),
        ("kind", "blue", {"The blue thing is a star."}),
        ("kind", "red", {"The red things are two circles and a house."}),
        ("where", "the star", {"The star is at the top right."}),
        ("where", "the house", {"The house is at the bottom right."}),
        ("relation", "house to the left of the star", set()),  # one under the other: no question
        ("relation", "the house above the star", {"The house is below the star, so no."}),
        ("relation", "the star above the house", {"The star is above the house, so yes."}),
        ("side", "the star above or below the house", {"The star is above the house."}),
        ("beside", "What is below the star", {"Below the star there is a red house."}),
        ("beside", "What is to the left of the house", {"To the left of the house there is a red circle."}),
        ("beside", "What is to the right of the star", {"To the right of the star there is nothing."}),
        ("verify", "Is the star blue?", {"The star is blue, so yes."}),
        ("verify", "Is the star red?", {"The star is blue, so no."}),
        ("at", "What is at the top left?", {"At the top left there is a red circle."}),
        ("at", "What is in the middle?", {"In the middle there is nothing."}),
        ("palette", "colour", {"The colours are red and blue."}),
        ("ground", "colour is the background", {"The background is white."}),
        ("ground", "Is the background white", {"The background is white, so yes."}),
    ],
)
def test_answers_by_hand(family: str, word: str, expected: set[str]) -> None:
    assert answers(family, word) == expected


CATS = ("cat", "red cat", "red thing")


def test_sizes_by_hand() -> None:
    scene = Scene((Item("cat", "red", 0.3, 0.3, 0.25, RED), Item("car", "blue", 0.8, 0.8, 0.1, BLUE)), 96, 96, WHITE)
    assert answers("most", "What is the biggest", scene) == {"The biggest thing is a red cat."}
    assert answers("most", "Is the car the biggest", scene) <= {f"The {cat} is the biggest, so no." for cat in CATS}
    assert answers("bigger", "Is the cat bigger than the car", scene) == {"The cat is bigger than the car, so yes."}
    assert answers("bigger", "Is the car bigger than the cat", scene) == {"The car is smaller than the cat, so no."}
    assert answers("bigger", "Which is smaller, the car or the cat", scene) == {"The car is smaller than the cat."}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["train", "held_out", "plain"]))
def test_mentions_mark_the_words_and_only_present_items(seed: int, wordings: str) -> None:
    rng = random.Random(seed)
    scene = random_scene(rng, max_items=5)
    said = exchanges(scene, rng, n=12, families=list(FAMILIES), wordings=wordings) + dialogue(scene, rng, turns=3)  # type: ignore[arg-type]
    for exchange in said:
        for mention in exchange.mentions:
            text = exchange.question if mention.part == "question" else exchange.answer
            words = text[mention.start : mention.end]
            assert words and words == words.strip()
            assert all(0 <= index < len(scene.items) for index in mention.items)
            if mention.part == "answer":  # canonical words: a kind or a colour that all of them have
                for index in mention.items:
                    item = scene.items[index]
                    assert item.kind in words or "thing" in words or item.kind == "fish"
                    named = {colour for colour in ("red", "blue", "green", "white", "black") if colour in words.split()}
                    assert named <= {item.colour}


def test_mention_targets_by_hand() -> None:
    assert mention_targets(SCENE, Mention("question", 0, 1, (0,))) == (1, 10, 2, 1, 0)
    assert mention_targets(SCENE, Mention("question", 0, 1, (1, 2))) == (2, -1, -1, -1, -1)
    assert mention_targets(SCENE, Mention("question", 0, 1, ())) == (0, -1, -1, -1, -1)


def test_training_questions_never_name_a_held_out_pair() -> None:
    rng = random.Random(1)
    held_out = {f"{colour} {kind}" for kind, colour in HELD_OUT_PAIRS}
    for _ in range(300):
        scene = random_scene(rng)
        for exchange in exchanges(scene, rng, n=16, families=list(FAMILIES)) + dialogue(scene, rng):
            said = f"{exchange.question} {exchange.answer}".lower()
            assert not any(pair in said for pair in held_out), exchange


def test_people_ask_in_hundreds_of_ways() -> None:
    rng, scene = random.Random(0), SCENE
    for family in ("exist", "colour", "count", "describe", "where", "relation"):
        asked = {exchange.question for exchange in exchanges(scene, rng, n=900, families=[family])}
        assert len(asked) > 200, family


def test_n_questions_come_and_an_impossible_family_is_refused() -> None:
    single = Scene(SCENE.items[:1], 96, 96, WHITE)
    assert len(exchanges(single, random.Random(0), n=16)) == 16
    assert {exchange.family for exchange in exchanges(SCENE, random.Random(0), n=400)} == set(CORE)
    with pytest.raises(ValueError, match="relation"):
        exchanges(single, random.Random(0), n=1, families=["relation"])


def test_near_ties_are_not_asked() -> None:
    """Two items at nearly the same height: no question hangs on which is higher."""
    level = Scene((Item("cat", "red", 0.2, 0.5, 0.1, RED), Item("car", "blue", 0.8, 0.55, 0.1, BLUE)), 96, 96, WHITE)
    asked = exchanges(level, random.Random(0), n=300, families=["relation", "side", "beside"], wordings="plain")
    assert not any("above" in exchange.answer or "below" in exchange.answer for exchange in asked)
    border = Scene((Item("cat", "red", 0.34, 0.5, 0.1, RED),), 96, 96, WHITE)
    with pytest.raises(ValueError, match="where"):
        exchanges(border, random.Random(0), n=1, families=["where"])


def follow_up(scene: Scene, family: str) -> dict[str, Exchange]:
    """First question's answer -> the follow-up of a family."""
    rng = random.Random(0)
    said = [dialogue(scene, rng, wordings="plain", only_follow_ups=True) for _ in range(3000)]
    return {first.answer: second for first, second in said if second.family == family}


def test_follow_ups_by_hand() -> None:
    single = Scene((Item("star", "blue", 0.85, 0.2, 0.1, BLUE), *SCENE.items[3:]), 96, 96, WHITE)
    colours = follow_up(single, "follow_colour")
    assert colours["Yes, there is a star."].answer == "The star is blue."
    assert colours["The house is at the bottom right."].answer == "The house is red."
    assert follow_up(SCENE, "follow_count")["The circles are red."].answer == "There are two circles."
    sure = follow_up(single, "follow_sure")
    assert sure["The star is blue."].answer == "Yes, I am sure. The star is blue."
    denied = {first: second.answer for first, second in sure.items() if first.startswith("No, there is no ")}
    assert denied and all(said == f"Yes, I am sure. T{first[5:]}" for first, said in denied.items())
    others = follow_up(single, "follow_other")
    assert others["The star is blue."].answer in ("The house is red.", *(e.answer for e in others.values()))


def test_talk_is_honest() -> None:
    rng = random.Random(0)
    assert {no_picture(rng).answer for _ in range(50)} == {"There is no picture yet. Attach one and ask me again."}
    talk = [small_talk(rng) for _ in range(3000)]
    said = {exchange.question.lower().strip("?!. "): exchange.answer for exchange in talk}
    assert said["who are you"] == "I am llava, a tiny model that looks at pictures."
    assert said["thanks"] == "You are welcome."
    unknowable = exchanges(SCENE, rng, n=20, families=["unknowable"])
    assert {exchange.answer for exchange in unknowable} == {
        "I do not know that. I only know simple things in pictures."
    }
