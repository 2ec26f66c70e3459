"""Plain questions read as text, each with the answers that the scene allows (by reckoning.py)."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.training.embedded.picture_world.reckoning import (
    COLOURS,
    EDGES,
    NUMBERS,
    OTHER,
    Answer,
    absent,
    article,
    at,
    bigger,
    colours,
    counted,
    is_are,
    is_most,
    kinds,
    known,
    meant,
    most,
    named,
    nearest,
    noun,
    number,
    of_set,
    place,
    plural,
    same_size,
    side_fact,
    style,
    the,
    there,
    things,
    which,
    which_of_two,
)
from training.embedded.picture_world.exchanges import Order
from training.embedded.picture_world.scenes import Scene

Reckon = Callable[..., "Answer | set[str]"]
X, Y = r"the ((?:\w+ )?\w+)", r"the ((?:\w+ )?\w+)"
SIDE = r"(to the left of|to the right of|above|below)"
WHERE = r"(on the left|on the right|at the (?:top|bottom)(?: left| right)?|in the middle)"
RED = r"(\w+)"


def exist(s: Scene, words: str) -> Answer:
    items = meant(s, words)
    said = number(len(items), words, article(words).split()[0]) if items else f"no {noun(words, False)}"
    return bool(items), f"there {is_are(items)} {said}"


def side(s: Scene, x: str, first: str, y: str) -> Answer:
    missing = absent(s, x) or absent(s, y)
    if missing:
        return missing
    side, fact = side_fact(s, x, y, (first, OTHER[first]))
    return side == first, fact


def beside(s: Scene, side: str, y: str) -> Answer:
    return absent(s, y) or (None, f"{side} the {y} {there(nearest(s, the(s, y), side))}")


def verify(s: Scene, words: str, asked: str) -> Answer:
    held = {item.colour for item in meant(s, words)}
    return absent(s, words) or (held == {asked}, of_set(s, words, colours))


def verify_kind(s: Scene, words: str, asked: str) -> Answer:
    return the(s, words).kind == asked, of_set(s, words, kinds)


def half(s: Scene, words: str, where: str) -> Answer:
    missing = absent(s, words)
    if missing:
        return missing
    items = meant(s, words)
    true = all(at(s, item, where) for item in items)
    if true or (where in EDGES and all(at(s, item, OTHER[where]) for item in items)):
        return true, f"the {noun(words, len(items) > 1)} {is_are(items)} {where if true else OTHER[where]}"
    return False, f"the {words} is {place(s, the(s, words))}"


def left_or_right(s: Scene, words: str, first: str, second: str) -> Answer:
    item = the(s, words)
    near = (item.x if first in ("on the left", "on the right") else item.y) < 0.5
    low = min(first, second, key=lambda where: EDGES[where][1])
    return None, f"the {words} is {low if near else OTHER[low]}"


def what_at(s: Scene, where: str) -> Answer:
    return None, f"{where} {there([item for item in s.items if at(s, item, where)])}"


def is_style(s: Scene, x: str, asked: str) -> Answer:
    return absent(s, x) or (style(the(s, x)) == asked, f"the {x} is {style(the(s, x))}")


def which_style(s: Scene, asked: str) -> Answer:
    items = [item for item in s.items if style(item) == asked]
    if not items:
        return None, f"there are no {asked} things"
    return None, f"the {asked} thing{'s' * (len(items) > 1)} {is_are(items)} {things(items)}"


def each(s: Scene, x: str, y: str, asked: str | None = None) -> Answer:
    one, other = the(s, x).colour, the(s, y).colour
    true = one == other and asked in (None, one)
    return true, f"the {x} and the {y} are {one}" if one == other else f"the {x} is {one} and the {y} is {other}"


def same_kind(s: Scene, x: str, y: str) -> Answer:
    one, other = the(s, x).kind, the(s, y).kind
    if one == other:
        return True, f"the {x} and the {y} are {plural(one)}"
    return False, f"the {x} is {article(one)} and the {y} is {article(other)}"


def any_of(s: Scene, words: str, asked: str) -> Answer:
    return exist(s, f"{asked} {named(words)[1]}")


def check(s: Scene, asked: str, words: str) -> Answer:
    return len(meant(s, words)) == NUMBERS.index(asked), counted(s, words)


def more(s: Scene, x: str, y: str) -> Answer:
    one, other = len(meant(s, x)), len(meant(s, y))
    return one > other, f"there {'is' if one == 1 else 'are'} {number(one, x)} and {number(other, y)}"


def more_which(s: Scene, x: str, y: str) -> Answer:
    one, other = len(meant(s, x)), len(meant(s, y))
    if one == other:
        return None, f"there are as many {noun(x, True)} as {noun(y, True)}"
    x, y = (x, y) if one > other else (y, x)
    return None, f"there are more {noun(x, True)} than {noun(y, True)}"


def how_many(s: Scene, count: int, one: str, rest: str) -> Answer:
    said = f"there is one {one}" if count == 1 else f"there are {NUMBERS[count]} {one.replace('thing', 'things', 1)}"
    return None, f"{said}{rest}"


def how_many_not(s: Scene, asked: str) -> Answer:
    count = sum(item.colour != asked for item in s.items)
    return how_many(s, count, "thing", f" that {'is' if count == 1 else 'are'} not {asked}")


def how_many_at(s: Scene, words: str, where: str) -> Answer:
    count = sum(at(s, item, where) for item in meant(s, words))
    return None, f"there {'is' if count == 1 else 'are'} {number(count, words)} {where}"


def how_many_styled(s: Scene, asked: str) -> Answer:
    return how_many(s, sum(style(item) == asked for item in s.items), f"{asked} thing", "")


def colour(s: Scene, words: str) -> Answer:
    return None, of_set(s, words, colours)


def which_side(s: Scene, x: str, y: str, first: str) -> Answer:
    return None, side_fact(s, x, y, (first, OTHER[first]))[1]


def palette(s: Scene) -> Answer:
    several = len({item.colour for item in s.items}) > 1
    return None, f"the {'colours are' if several else 'only colour is'} {colours(list(s.items))}"


def only_kind(s: Scene, words: str) -> Answer:
    return {item.kind for item in s.items} == {named(words)[1]}, of_set(s, "thing", kinds)


def distinct(s: Scene, what: str) -> Answer:
    count = len({item.colour if what == "colour" else item.kind for item in s.items})
    one, many = ("colour", "colours") if what == "colour" else ("kind of thing", "kinds of things")
    return None, f"there is one {one}" if count == 1 else f"there are {NUMBERS[count]} {many}"


def ground(s: Scene, asked: str | None = None) -> set[str]:
    said = [name for name in ("white", "black") if (min(s.ground) > 235) == (name == "white")]
    if max(s.ground) > 30 and min(s.ground) < 235:
        return set()  # another colour: only that yes and no fit the fact is held, below
    verdict = "" if asked is None else f", so {'yes' if asked == said[0] else 'no'}"
    return {f"the background is {said[0]}{verdict}"}


def all_things(s: Scene, what: str) -> Answer:
    alike = len({item.colour if what == "colour" else item.kind for item in s.items}) == 1
    return alike, of_set(s, "thing", colours if what == "colour" else kinds)


N = r"((?:\w+ )?\w+)"
QUESTIONS: dict[str, tuple[tuple[str, Reckon], ...]] = {
    "exist": (
        (rf"(?:is there an?|are there any) {N}", exist),
        (rf"is (?:there )?anything {RED}", lambda s, red: exist(s, f"{red} thing")),
    ),
    "colour": ((rf"what (?:colour is|is the colour of|colour are|are the colours of) {X}", colour),),
    "count": (
        (r"how many things (?:are there|do you see)", lambda s: (None, counted(s, "thing"))),
        (rf"how many {N} (?:are there|do you see)", lambda s, x: (None, counted(s, x))),
    ),
    "describe": ((r"what is in this picture|describe the picture", lambda s: (None, there(list(s.items)))),),
    "kind": (
        (rf"what things? (?:is|are) {RED}", lambda s, red: (None, of_set(s, f"{red} thing", kinds))),
        (rf"what (?:is|are) {X}", lambda s, x: (None, of_set(s, x, kinds))),
    ),
    "verify": (
        (rf"is {X} (?:really )?an? (\w+)", verify_kind),
        (rf"is {X} {RED}(?: in colour)?", verify),
    ),
    "relation": ((rf"is {X} {SIDE} {Y}", side),),
    "side": (
        (rf"is {X} left or right of {Y}", lambda s, x, y: which_side(s, x, y, "to the left of")),
        (rf"is {X} above or below {Y}", lambda s, x, y: which_side(s, x, y, "above")),
    ),
    "beside": ((rf"what is {SIDE} {Y}", beside),),
    "where": ((rf"where is {X}", lambda s, x: (None, f"the {x} is {place(s, the(s, x))}")),),
    "at": ((rf"what is {WHERE}(?: of the picture)?", what_at),),
    "palette": ((r"(?:what|which) colours (?:are there|do you see)", palette),),
    "ground": (
        (r"what (?:colour is the background|is the colour of the background)", ground),
        (rf"is (?:the background|the colour of the background) {RED}", ground),
    ),
    "half": (
        (rf"is {X} (on the left|at the top) or (on the right|at the bottom)(?: of the picture)?", left_or_right),
        (rf"(?:is|are) {X} {WHERE}(?: of the picture)?", half),
    ),
    "bigger": (
        (rf"is {X} (bigger|smaller) than {Y}", bigger),
        (rf"(?:which|what) is (bigger|smaller), {X} or {Y}", which),
        (r"which (?:thing|one) is (bigger|smaller)", which_of_two),
    ),
    "most": (
        (r"(?:what is the|which thing is the) (biggest|smallest)(?: thing)?", most),
        (rf"is {X} the (biggest|smallest)(?: thing)?", is_most),
    ),
    "same_size": ((rf"are {X} and {Y} the same size|is {X} as big as {Y}", same_size),),
    "style": (
        (rf"is {X} filled or hollow", lambda s, x: (None, f"the {x} is {style(the(s, x))}")),
        (rf"is {X} (filled|hollow)", is_style),
        (r"(?:which things are|what is) (filled|hollow)", which_style),
    ),
    "verify_many": (
        (rf"are (?:both )?{X} and {Y} {RED}", each),
        (rf"are {X} {RED}", verify),
    ),
    "same": (
        (rf"are {X} and {Y} the same colour|do {X} and {Y} have the same colour", each),
        (rf"are {X} and {Y} the same shape|is {X} the same shape as {Y}", same_kind),
        (r"(?:are|do) all the things (?:have )?the same (colour|shape)", all_things),
    ),
    "all": (
        (rf"(?:is everything|are all the things) ({'|'.join(COLOURS)})", lambda s, red: verify(s, "thing", red)),
        (rf"(?:are there only|are all the things) {N}", only_kind),
        (rf"is there (?:only|just) one {N}", lambda s, x: (len(meant(s, x)) == 1, counted(s, x))),
        (rf"(?:are all the|is every) {N} {RED}", verify),
        (rf"(?:are any of the|is any) {N} {RED}", any_of),
    ),
    "count_check": ((rf"(?:are there|do you see) (\w+) {N}", check),),
    "more": (
        (rf"are there more {N} than {N}", more),
        (rf"are there more {N} or (?:more )?{N}", more_which),
    ),
    "count_by": (
        (rf"how many things are not {RED}", how_many_not),
        (r"how many things are (filled|hollow)", how_many_styled),
        (rf"how many {N} are {WHERE}(?: of the picture)?", how_many_at),
        (r"how many (?:different )?(colour|kind)s (?:of things )?(?:are there|do you see)", distinct),
    ),
}  # fmt: skip
QUESTIONS["refuse"] = tuple(
    (pattern, reckon)
    for family in ("colour", "kind", "where", "beside", "verify", "relation", "half", "bigger", "style")
    for pattern, reckon in QUESTIONS[family]
)


def reckoned(scene: Scene, family: str, question: str, order: Order) -> set[str]:
    """Every answer that the second reckoning allows; empty where it has no opinion."""
    words = question.rstrip("?.").lower()
    for pattern, reckon in QUESTIONS[family]:
        if match := re.fullmatch(pattern, words):
            parts = [part for part in match.groups() if part is not None]
            if family == "refuse":  # whatever was asked about it
                return {f"there is no {noun(missing(scene, parts), False)} in the picture"}
            said = reckon(scene, *parts)
            return said if isinstance(said, set) else spoken(said, order, family)
    raise AssertionError(f"{family} does not ask {question!r}")


def missing(scene: Scene, parts: list[str]) -> str:
    """Which of the words of a refused question names nothing that is there."""
    for words in parts:
        for candidate in (words, f"{words} thing"):
            if known(candidate) and not meant(scene, candidate):
                return candidate
    raise AssertionError(parts)


def spoken(said: Answer, order: Order, family: str) -> set[str]:
    true, fact = said
    if true is None:
        return {fact}
    first, last = f"{'yes' if true else 'no'}, {fact}", f"{fact}, so {'yes' if true else 'no'}"
    if family == "exist" or (family == "all" and re.fullmatch(r"there (?:is|are) .*", fact)):
        return {first, last}  # "is there" is always answered by yes or no first
    return {first if order == "verdict" else last}


def turned(answer: str) -> str:
    """Verdict first -> fact first: two families are reckoned fact first only."""
    match = re.fullmatch(r"(yes|no), (.*)", answer)
    return f"{match[2]}, so {match[1]}" if match else answer
