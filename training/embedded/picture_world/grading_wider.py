"""Reading what answers state beyond the core: sizes, styles, the same, numbers of colours, and two pictures.

In: words in lower case without marks. Out: a fact in one form for all ways to say it, or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from training.embedded.picture_world.phrases import NUMBERS, plural_of
from training.embedded.picture_world.question_templates import EDGE_WORDS, EDGES, HALF_WORDS, HALVES, MOST_WORDS
from training.embedded.picture_world.scenes import COLOUR_NAMES, KINDS

Noun = tuple[str, str]
Fact = tuple[object, ...]
ReadNoun = Callable[[str], Noun | None]
ReadList = Callable[[str], "frozenset[tuple[Noun, int]] | None"]

PLACES = {words: EDGES[edge] for edge, ways in EDGE_WORDS.items() for words in ways}
PLACES |= {words.replace("-", " "): HALVES[edge] for edge, ways in HALF_WORDS.items() for words in ways}
_STYLES = {"filled": "filled", "hollow": "hollow", "solid": "filled", "empty": "hollow"}
_MOST = {words: said for said, ways in MOST_WORDS.items() for words in ways}
_KINDS = {plural_of(kind): kind for kind in KINDS} | {kind: kind for kind in KINDS}
_NUMBER = {word: number for number, word in enumerate(NUMBERS)} | {str(number): number for number in range(9)}
_PLACE = "|".join(sorted(map(re.escape, PLACES), key=len, reverse=True))


def wider_fact(words: str, noun: ReadNoun, listed: ReadList) -> Fact | None:
    """What a sentence states; `noun` and `listed` read the words for items."""
    for pattern, read in _READERS:
        if match := re.fullmatch(pattern, words):
            fact = read(match, noun, listed)
            if fact is not None:
                return fact
    return None


def _number(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    """There are two hollow things / three colours / two kinds of things."""
    what = match[2].removesuffix("s").replace("kinds of thing", "kind of thing")
    return ("number", _NUMBER[match[1]], what) if match[1] in _NUMBER else None


def _not(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    return ("not", _NUMBER[match[1]], match[2]) if match[1] in _NUMBER and match[2] in COLOUR_NAMES else None


def _number_at(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    held = listed(match[1])
    return None if held is None else ("number at", held, PLACES[match[2]])


def _more(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    one, other = noun(match[2]), noun(match[3])
    if one is None or other is None:
        return None
    return ("more", one, other) if match[1] == "more" else ("as many", frozenset((one, other)))


def _styled(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    held = listed(match[2])
    return None if held is None else ("styled", match[1], held)


def _other(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    if match[1] == "thing":
        held = listed(match[2])
        return None if held is None else ("other thing", held)
    return ("other", match[1], match[2]) if match[1] in KINDS and match[2] in COLOUR_NAMES else None


def _most(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    one = noun(match[1])
    return None if one is None or match[2] not in _MOST else ("is the most", one, _MOST[match[2]])


def _style(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    one = noun(match[1])
    return None if one is None else ("style", one, _STYLES[match[2]])


def _both(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    """The star and the circle are red / circles / the same size."""
    one, other, said = noun(match[1]), noun(match[2]), match[3]
    if one is None or other is None:
        return None
    said = _KINDS.get(said, said)
    if said not in COLOUR_NAMES and said not in KINDS and said != "the same size":
        return None
    return ("both", frozenset((one, other)), said)


def _each(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    """The star is red and the circle is blue."""
    held = []
    for name, said in ((match[1], match[2]), (match[3], match[4])):
        one, words = noun(name), said.removeprefix("a ").removeprefix("an ")
        if one is None or (words not in COLOUR_NAMES and words not in KINDS):
            return None
        held.append((one, words))
    return ("each", frozenset(held))


def _are_at(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    one = noun(match[1])
    return None if one is None else ("are at", one, PLACES[match[2]])


def _more_in(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    one = noun(match[2])
    return None if one is None else ("more in", match[1], one)


def _both_have(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    held = listed(match[1])
    return None if held is None else ("both have", held)


def _only_in(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    held = listed(match[2])
    return None if held is None else ("only in", match[1], held)


def _neither(match: re.Match[str], noun: ReadNoun, listed: ReadList) -> Fact | None:
    one = noun(match[1])
    return None if one is None else ("neither has", one)


_READERS: tuple[tuple[str, Callable[[re.Match[str], ReadNoun, ReadList], Fact | None]], ...] = (
    (r"there (?:is|are) (\w+) ((?:hollow|filled) things?|colours?|kinds? of things?)", _number),
    (r"there (?:is|are) (\w+) things? that (?:is|are) not (\w+)", _not),
    (rf"there (?:is|are) (.+) ({_PLACE})", _number_at),
    (r"there are (more|as many) (.+) (?:than|as) (.+)", _more),
    (r"the (hollow|filled) things? (?:is|are) (.+)", _styled),
    (r"the other (\w+) is (.+)", _other),
    (r"the ((?:\w+ )?\w+) is the (\w+)", _most),
    (r"the ((?:\w+ )?\w+) is (filled|hollow|solid|empty)", _style),
    (r"the ((?:\w+ )?\w+) and the ((?:\w+ )?\w+) are (.+)", _both),
    (r"the ((?:\w+ )?\w+) is ((?:an? )?\w+) and the ((?:\w+ )?\w+) is ((?:an? )?\w+)", _each),
    (rf"the ((?:\w+ )?\w+) are ({_PLACE})", _are_at),
    (r"the (first|second) picture has more (.+)", _more_in),
    (r"both pictures have (.+)", _both_have),
    (r"only the (first|second) picture has (.+)", _only_in),
    (r"neither picture has (?:an?|any) (.+)", _neither),
)
