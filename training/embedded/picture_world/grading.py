"""Is an answer right? It is read, not compared letter by letter: two answers are equal when they say the same.

Case, articles, full stops, "1" or "one", the order of a list do not matter; a wrong, missing or extra item does. What
can not be read is wrong. Knows the language of the world, not its pictures.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from training.embedded.picture_world.exchanges import Exchange
from training.embedded.picture_world.grading_wider import PLACES, wider_fact
from training.embedded.picture_world.phrases import NUMBERS, THINGS, plural_of
from training.embedded.picture_world.question_templates import REGION_WORDS, SIDE_WORDS, SIZE_WORDS
from training.embedded.picture_world.scenes import COLOUR_NAMES, KINDS
from training.embedded.picture_world.talk import DO_NOT_KNOW, NO_PICTURE, NOT_LEARNED, SMALL_TALK

Noun = tuple[str, str]  # (kind or "thing", colour or "")
Fact = tuple[object, ...]

_OPPOSITE = {"left": "right", "above": "below", "smaller": "bigger"}
_NOUNS = {plural_of(kind): kind for kind in KINDS} | {kind: kind for kind in KINDS}
_NOUNS |= dict.fromkeys(THINGS, "thing") | {plural_of(thing): "thing" for thing in THINGS}
_COUNTS = {word: number for number, word in enumerate(NUMBERS)} | {str(number): number for number in range(9)}
_COUNTS |= {"a": 1, "an": 1, "zero": 0}
_SIDES = sorted(((words, side) for side, ways in SIDE_WORDS.items() for words in ways), key=lambda way: -len(way[0]))
_REGIONS = PLACES | {words: region for region, ways in REGION_WORDS.items() for words in ways}
_SIZES = {f"{words} than": said for said, ways in SIZE_WORDS.items() for words in ways}


@dataclass(frozen=True)
class Meaning:
    """What an answer says.

    Attributes:
        verdict: yes, no, or neither.
        fact: what it states, in one form for all ways to say it; None where it states nothing.
    """

    verdict: bool | None
    fact: Fact | None


def grade(exchange: Exchange, answer: str) -> bool:
    """Whether `answer` says what the exchange's one right answer says.

    Where the right answer is a yes or no with its fact, either alone is enough; if both are there, both must be right.
    """
    right, given = meaning(exchange.answer), meaning(answer)
    if right is None or given is None:
        return False
    if right.verdict is None:
        return given.fact == right.fact and given.verdict is None
    if given.verdict is None and given.fact is None:
        return False
    return given.verdict in (None, right.verdict) and given.fact in (None, right.fact)


def meaning(answer: str) -> Meaning | None:
    """Read an answer; None where it can not be read."""
    words = re.sub(r"[^\w' ]", " ", answer.lower()).replace("gray", "grey").replace("color", "colour")
    words = re.sub(r"\s+", " ", words).strip()
    if words in _fixed():
        return Meaning(None, ("said", words))
    words = words.removesuffix(" in the picture").removeprefix("yes i am sure ")
    verdict: bool | None = None
    for said, value in (("yes", True), ("no", False)):
        if words == said:
            return Meaning(value, None)
        if words.startswith((said + " there ", said + " the ", said + " in the first ", said + " in the second ")):
            verdict, words = value, words.removeprefix(said + " ")
        elif words.endswith(" so " + said):
            verdict, words = value, words.removesuffix(" so " + said)
    fact = _in_pictures(words) or wider_fact(words, _noun, _list) or _fact(words)
    return None if fact is None else Meaning(verdict, fact)


def _in_pictures(words: str) -> Fact | None:
    """ "in the first picture there is …", and what follows of the second."""
    first, second, rest = words.partition(" in the second picture ")
    if second and first.startswith("in the first picture "):
        facts = (_fact(first.removeprefix("in the first picture ")), _fact(rest))
        return None if None in facts else ("in both", *facts)
    for name in ("first", "second"):
        if words.startswith(f"in the {name} picture "):
            fact = _fact(words.removeprefix(f"in the {name} picture "))
            return None if fact is None else ("in the", name, fact)
    return None


def _fixed() -> set[str]:
    sayings = (DO_NOT_KNOW, NO_PICTURE, NOT_LEARNED, "The pictures have nothing in common.", *SMALL_TALK.values())
    return {re.sub(r"\s+", " ", re.sub(r"[^\w' ]", " ", saying.lower())).strip() for saying in sayings}


def _fact(words: str) -> Fact | None:
    if match := re.fullmatch(r"there (?:is|are) (.+)", words):
        listed = _list(match[1])
        return None if listed is None else ("there", listed)
    if match := re.fullmatch(r"(.+?) there (?:is|are) (.+)", words):
        return _placed(match[1], match[2])
    if match := re.fullmatch(r"the (?:only )?colours? (?:is|are) (.+)", words):
        colours = _colours(match[1])
        return None if colours is None else ("palette", colours)
    if match := re.fullmatch(r"the background is (\w+)", words):
        return ("ground", match[1]) if match[1] in COLOUR_NAMES else None
    if match := re.fullmatch(r"the (biggest|largest|smallest) thing is (.+)", words):
        listed = _list(match[2])
        return None if listed is None else ("most", match[1].replace("largest", "biggest"), listed)
    if match := re.fullmatch(r"the ((?:\w+ )?\w+) (is|are) (.+)", words):
        noun = _noun(match[1])
        return None if noun is None else _said_of(noun, match[2] == "are", match[3])
    return None


def _said_of(noun: Noun, plural: bool, words: str) -> Fact | None:
    """What is said of "the circle" after "is"."""
    if words in _REGIONS:
        return None if plural else ("where", noun, _REGIONS[words])
    if (colours := _colours(words)) is not None:
        return ("colour", noun, plural, colours)
    for said, relation in (*_SIDES, *_SIZES.items()):
        if words.startswith(said + " the "):
            other = _noun(words.removeprefix(said + " the "))
            if other is None or plural:
                return None
            if relation in _OPPOSITE:
                return ("than", _OPPOSITE[relation], other, noun)
            return ("than", relation, noun, other)
    listed = _list(words)
    return None if listed is None else ("kind", noun, plural, listed)


def _placed(lead: str, words: str) -> Fact | None:
    """ "to the left of the circle there is …", "at the top there is …"."""
    listed = frozenset() if words == "nothing" else _list(words)
    if listed is None:
        return None
    if lead in _REGIONS:
        return ("at", _REGIONS[lead], listed)
    for said, side in _SIDES:
        if lead.startswith(said + " the "):
            noun = _noun(lead.removeprefix(said + " the "))
            return None if noun is None else ("beside", side, noun, listed)
    return None


def _noun(words: str) -> Noun | None:
    colour, _, kind = words.rpartition(" ")
    if kind not in _NOUNS or (colour and colour not in COLOUR_NAMES):
        return None
    return (_NOUNS[kind], colour)


def _colours(words: str) -> frozenset[str] | None:
    named = words.replace(" and ", " ").split()
    return frozenset(named) if all(name in COLOUR_NAMES for name in named) and len(set(named)) == len(named) else None


def _list(words: str) -> frozenset[tuple[Noun, int]] | None:
    """ "two red circles a blue star and a cat" (commas are gone) as noun -> how many."""
    held: Counter[Noun] = Counter()
    listed = words.replace(" and ", " ").split()
    while listed:
        number = _COUNTS.get(listed.pop(0))
        end = next((at for at, word in enumerate(listed) if word in _NOUNS), None)
        noun = None if end is None else _noun(" ".join(listed[: end + 1]))
        if number is None or noun is None or end is None or noun in held:
            return None
        held[noun] = number
        del listed[: end + 1]
    return frozenset(held.items())
