"""How questions are worded: every template fills, held-out ones are no training ones, slips keep words apart."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.embedded.picture_world.patterns import Line, all_of, expand, parsed, ways_in
from training.embedded.picture_world.phrases import MATTERING
from training.embedded.picture_world.question_templates import ASKED, HELD_OUT
from training.embedded.picture_world.slips import careless, slip
from training.embedded.picture_world.ways import CLAUSE_LEADS, NOUN_LEADS
from training.embedded.picture_world.wording import dress

SLOT = re.compile(r"\{(\w+)\}")
COMMON = {"colour", "thing", "things", "picture"}


@pytest.mark.parametrize(
    ("pattern", "templates"),
    [
        ("plain", ["plain"]),
        ("(do|can) you", ["do you", "can you"]),
        ("a((b|c)|d|)e", ["abe", "ace", "ade", "ae"]),
        ("(a|b)(c|)", ["ac", "a", "bc", "b"]),
    ],
)
def test_patterns_by_hand(pattern: str, templates: list[str]) -> None:
    line = parsed(pattern)
    assert list(all_of(line)) == templates
    assert ways_in(line) == len(templates)
    assert {expand(line, random.Random(seed)) for seed in range(60)} == set(templates)


@pytest.mark.parametrize("pattern", ["(a", "a)", "a|b", "((a)"])
def test_broken_patterns_are_told(pattern: str) -> None:
    with pytest.raises(ValueError, match="brackets"):
        parsed(pattern)


def as_regex(line: Line) -> str:
    return "".join(
        re.escape(part) if isinstance(part, str) else f"(?:{'|'.join(as_regex(choice) for choice in part)})"
        for part in line
    )


def lines(patterns: tuple[str, ...]) -> str:
    return "|".join(as_regex(parsed(pattern)) for pattern in patterns)


@pytest.mark.parametrize("family", ASKED)
def test_held_out_templates_can_not_be_made_in_training(family: str) -> None:
    ways = ASKED[family]
    made = re.compile(
        f"(?:{lines(ways.plain + ways.direct)}"
        + (f"|(?:{lines(CLAUSE_LEADS)})(?:{lines(ways.clause)})" if ways.clause else "")
        + (f"|(?:{lines(NOUN_LEADS)})(?:{lines(ways.noun)})" if ways.noun else "")
        + ")"
    )
    assert made.fullmatch(ways.plain[0]) and made.fullmatch(ways.draw(random.Random(0)))
    assert len(HELD_OUT[family]) >= 2
    for pattern in HELD_OUT[family]:
        for template in all_of(parsed(pattern)):
            ends = {template, template.replace("@", ""), template + "@"}
            assert not any(made.fullmatch(end) for end in ends), template


def test_held_out_templates_are_for_all_families_and_know_no_other_slots() -> None:
    assert set(HELD_OUT) == set(ASKED)
    for family, patterns in HELD_OUT.items():
        ways = ASKED[family]
        known = COMMON | {slot for pattern in (*ways.plain, *ways.direct) for slot in SLOT.findall(pattern)}
        assert {slot for pattern in patterns for slot in SLOT.findall(pattern)} <= known, family


def asked_for(template: str) -> set[str]:
    """What a template asks about, be it named in the singular or the plural."""
    return {{"xs": "x", "a": "x", "ys": "y"}.get(slot, slot) for slot in SLOT.findall(template)} - COMMON


@pytest.mark.parametrize("family", sorted(set(ASKED) - {"unknown"}))  # there nothing hangs on the words
def test_every_template_says_what_its_family_needs(family: str) -> None:
    """Nothing that the answer hangs on is left out: in `kind` the colour may stand for "the red thing"."""
    ways = ASKED[family]
    needed = asked_for(ways.plain[0])
    allowed = [needed, {"red"}, needed | {"red"}] if family in ("kind", "kinds", "verify_kind") else [needed]
    for pattern in (*ways.plain, *ways.direct, *ways.clause, *ways.noun, *HELD_OUT[family]):
        for template in all_of(parsed(pattern)):
            assert asked_for(template) in allowed, template


def test_there_are_hundreds_of_templates() -> None:
    few = {family for family, ways in ASKED.items() if ways.count() < 250}
    assert few <= {"follow_other", "follow_others", "follow_other_one", "talk_alive", "talk_how", "unknown_thing"}
    assert all(ASKED[family].count() >= 60 for family in few)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(sorted(word for word in MATTERING if len(word) > 3)))
def test_a_slip_is_nearest_to_its_own_word(seed: int, word: str) -> None:
    typed = slip([(word, (0,))], random.Random(seed))[0][0]
    assert typed == word or {other for other in MATTERING if distance(typed, other) <= 1} <= {word}


def distance(one: str, other: str) -> int:
    """Optimal string alignment distance, the textbook table."""
    table = [[i + j if i * j == 0 else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            same = one[i - 1] == other[j - 1]
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (not same))
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_what_people_type_has_no_stray_spaces_and_keeps_its_words(seed: int) -> None:
    rng = random.Random(seed)
    text = dress("what {colour} is the {x}@", {"x": [("circle", (0,))]}, rng, "train")
    words = "".join(words for words, _ in text)
    assert words == words.strip() and "  " not in words
    assert [items for _, items in text if items is not None] == [(0,)]


def test_careless_spellings_touch_no_slot() -> None:
    rng = random.Random(0)
    for _ in range(2000):
        template = ASKED[rng.choice(list(ASKED))].draw(rng)
        assert SLOT.findall(careless(template, rng)) == SLOT.findall(template)
