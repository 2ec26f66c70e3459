"""Two pictures, and later turns that point back: answers against a second reckoning (reckoning.py)."""

from __future__ import annotations

import random
import re

import pytest

from tests.training.embedded.picture_world.reckoning import (
    NUMBERS,
    article,
    at,
    colours,
    counted,
    is_are,
    kinds,
    larger,
    listing,
    meant,
    noun,
    of_set,
    place,
    style,
    the,
    there,
)
from training.embedded.picture_world.comparing import compare
from training.embedded.picture_world.dialogues import dialogue
from training.embedded.picture_world.exchanges import Exchange
from training.embedded.picture_world.phrases import Named
from training.embedded.picture_world.scenes import Scene, random_scene

N = r"((?:\w+ )?\w+)"
KINDS = "circle square triangle star heart diamond cross moon house tree fish boat car cat"


def said_of_two(first: Scene, second: Scene, question: str) -> str:
    """The answer to a plain question about two pictures."""
    words = question.rstrip("?.").lower()
    two = (first, second)
    if match := re.fullmatch(
        rf"which picture has more {N}|are there more {N} in the first or the second picture", words
    ):
        asked = match[1] or match[2]
        one, other = (len(meant(scene, asked)) for scene in two)
        if one == other:
            lead = f"both pictures have {NUMBERS[one]}" if one else "neither picture has any"
            return f"{lead} {noun(asked, one != 1)}"
        return f"the {'first' if one > other else 'second'} picture has more {noun(asked, True)}"
    if match := re.fullmatch(rf"(?:which picture has|in which picture is there) an? {N}", words):
        held = [bool(meant(scene, match[1])) for scene in two]
        lead = {(1, 1): "both pictures have", (0, 0): "neither picture has"}.get((held[0], held[1]))
        lead = lead or f"only the {'first' if held[0] else 'second'} picture has"
        return f"{lead} {article(match[1])}"
    if words in ("what do both pictures have", "what is in both pictures"):
        common = [article(kind) for kind in KINDS.split() if all(meant(scene, kind) for scene in two)]
        return f"both pictures have {listing(common)}" if common else "the pictures have nothing in common"
    if words in ("compare the two pictures", "what is different in the two pictures"):
        one, other = (there(list(scene.items)) for scene in two)
        return f"in the first picture {one}. in the second picture {other}"
    for name, scene in (("first", first), ("second", second)):
        lead, tail = f"in the {name} picture", f"the {name} picture"
        if words in (f"what is in {tail}", f"describe {tail}"):
            return f"{lead} {there(list(scene.items))}"
        if match := re.fullmatch(rf"how many {N} are (?:there )?in {tail}", words):
            return f"{lead} {counted(scene, match[1])}"
        if match := re.fullmatch(rf"(?:is there|do you see) an? {N} in {tail}", words):
            items = meant(scene, match[1])
            count = len(items)
            many = f"{NUMBERS[count]} {noun(match[1], count > 1)}"
            fact = f"there {is_are(items)} {article(match[1]) if count == 1 else many}"
            return f"{'yes' if items else 'no'}, {lead} {fact}"
        if match := re.fullmatch(rf"(?:what|which) colour is the {N} in {tail}", words):
            return f"{lead} {of_set(scene, match[1], colours)}"
    raise AssertionError(question)


def test_two_pictures(count: int = 600) -> None:
    rng = random.Random(0)
    for _ in range(count):
        first, second = random_scene(rng, max_items=4), random_scene(rng, max_items=4)
        exchange = compare(first, second, rng, wordings="plain")
        assert exchange.answer.rstrip(".").lower() == said_of_two(first, second, exchange.question), exchange
        assert all(mention.items == () or max(mention.items) < len(second.items) for mention in exchange.mentions)


def called(named: Named) -> str:
    return f"{named.colour or ''} {named.kind or 'thing'}".strip()


def said_of_it(scene: Scene, it: str, question: str) -> str | None:
    """The answer to a plain follow-up about `it`; None where this reckoning has no opinion."""
    words = question.rstrip("?.").lower().removeprefix("and ")
    item = the(scene, it)
    if words == "what colour is it":
        return of_set(scene, it, colours)
    if words == "where is it":
        return f"the {it} is {place(scene, item)}"
    if words == "what is it":
        return of_set(scene, it, kinds)
    if match := re.fullmatch(r"is it (filled|hollow)", words):
        return so(f"the {it} is {style(item)}", match[1] == style(item))
    if match := re.fullmatch(rf"is it (bigger|smaller) than the {N}", words):
        truly = "bigger" if larger(scene, it, match[2]) else "smaller"
        return so(f"the {it} is {truly} than the {match[2]}", truly == match[1])
    if match := re.fullmatch(
        r"is it (on the left|on the right|at the (?:top|bottom)(?: left| right)?|in the middle)", words
    ):
        if at(scene, item, match[1]):
            return so(f"the {it} is {match[1]}", True)
        return None
    if match := re.fullmatch(r"is it (\w+)", words):
        return so(of_set(scene, it, colours), match[1] == item.colour)
    if "the other one" in words and len(scene.items) == 2:
        (other,) = [one for one in scene.items if one is not item]
        if words == "what is the other one":
            return f"the other thing is {article(f'{other.colour} {other.kind}')}"
        name = other.kind if other.kind != item.kind else f"{other.colour} {other.kind}"
        if words == "where is the other one":
            return f"the {name} is {place(scene, other)}"
        if words == "what colour is the other one":
            name = other.kind if other.kind != item.kind else f"other {other.kind}"
            return f"the {name} is {other.colour}"
    return None


def so(fact: str, true: bool) -> str:
    return f"{fact}, so {'yes' if true else 'no'}"


def said_of_them(scene: Scene, they: str, question: str) -> str | None:
    """The same about several."""
    words = question.rstrip("?.").lower().removeprefix("and ")
    held = {item.colour for item in meant(scene, they)}
    fact = of_set(scene, they, colours)
    if words == "what colour are they":
        return fact
    if words in ("are they the same colour", "do they have the same colour"):
        return so(fact, len(held) == 1)
    if match := re.fullmatch(r"are they (?:all )?(\w+)", words):
        return so(fact, held == {match[1]})
    if match := re.fullmatch(r"where is the (\w+) one", words):
        name = f"{match[1]} {they.split()[-1]}"
        return f"the {name} is {place(scene, the(scene, name))}"
    return None


@pytest.mark.parametrize("seed", range(4))
def test_later_turns(seed: int, count: int = 300) -> None:
    rng, checked = random.Random(seed), 0
    for _ in range(count):
        scene = random_scene(rng, max_items=4)
        first, second = dialogue(scene, rng, wordings="plain", only_follow_ups=True)
        expected = reckoned(scene, first, second)
        if expected is not None:
            checked += 1
            assert second.answer.rstrip(".").lower() == expected, (first, second, scene)
    assert checked > 0.25 * count


def reckoned(scene: Scene, first: Exchange, second: Exchange) -> str | None:
    if first.about is None or not second.family.startswith("follow_"):
        return None
    members = first.about.members(scene)
    if len(members) == 1:
        return said_of_it(scene, called(first.about), second.question)
    return said_of_them(scene, called(first.about), second.question) if members else None
