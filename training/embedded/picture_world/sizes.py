"""Families about sizes and about what is filled or hollow. Nothing hangs on a near tie."""

from __future__ import annotations

from training.embedded.picture_world.exchanges import Exchange, Occasion
from training.embedded.picture_world.phrases import NUMBERS, Named, Text, counted, grouped, joined, sentence
from training.embedded.picture_world.places import ALIKE, COMPACT, size_ratio, sure_size
from training.embedded.picture_world.question_templates import MOST_WORDS, SIZE_WORDS, STYLE_WORDS, STYLES_WORDS

_OPPOSITE = {"bigger": "smaller", "smaller": "bigger"}


def bigger(o: Occasion) -> Exchange | None:
    """Is the star bigger than the circle? Which is bigger, the star or the circle? Which one is bigger?"""
    two = o.two()
    if two is None:
        return None
    one, other, x, y = two
    if not sure_size(o.scene, one, other):
        return None
    lot = o.rng.random()
    if lot < 0.45:
        return compared(o, "bigger", "bigger", (one, x), (other, y))
    said = o.rng.choice(tuple(SIZE_WORDS))
    if (size_ratio(o.scene, one, other) > 1) != (said == "bigger"):
        one, other, x, y = other, one, y, x  # the answer begins with what was asked for
    fact = _than(said, (one, x), (other, y))
    if len(o.scene.items) == 2 and lot > 0.7:
        return o.exchange("bigger", "bigger_two", {"size": o.pick(SIZE_WORDS[said])}, fact, x)
    first, second = (x, y) if o.rng.random() < 0.5 else (y, x)
    slots: dict[str, Text | str] = {"x": o.call(first), "y": o.call(second), "size": o.pick(SIZE_WORDS[said])}
    return o.exchange("bigger", "which", slots, fact, x)


def compared(o: Occasion, family: str, template: str, x: tuple[int, Named], y: tuple[int, Named]) -> Exchange:
    """Is x bigger (or smaller) than y? They are of clearly different size."""
    truly = "bigger" if size_ratio(o.scene, x[0], y[0]) > 1 else "smaller"
    true = o.rng.random() < 0.5
    asked = truly if true else _OPPOSITE[truly]
    slots: dict[str, Text | str] = {"x": o.call(x[1]), "y": o.call(y[1]), "size": o.pick(SIZE_WORDS[asked])}
    return o.exchange(family, template, slots, o.verdict(_than(truly, x, y), true), x[1])


def _than(said: str, x: tuple[int, Named], y: tuple[int, Named]) -> Text:
    """ "The star is bigger than the circle."."""
    return sentence([("the ", None), (x[1].noun(), (x[0],)), (f" is {said} than the ", None), (y[1].noun(), (y[0],))])


def extreme(o: Occasion, said: str) -> int | None:
    """The "biggest" or the "smallest" item; None where it is not clearly so."""
    if len(o.scene.items) < 2:
        return None
    ordered = sorted(range(len(o.scene.items)), key=lambda index: o.scene.items[index].radius)
    if said == "biggest":
        ordered.reverse()
    first = ordered[0]
    return first if all(sure_size(o.scene, first, other) for other in ordered[1:]) else None


def most(o: Occasion) -> Exchange | None:
    """What is the biggest thing? Is the star the smallest?"""
    said = "biggest" if o.rng.random() < 0.6 else "smallest"
    index = extreme(o, said)
    if index is None:
        return None
    if o.rng.random() < 0.35:
        truly = o.unique(index)
        others = [other for other in range(len(o.scene.items)) if other != index]
        asked = truly if o.rng.random() < 0.5 else o.unique(o.rng.choice(others))
        if truly is None or asked is None:
            return None
        return is_most(o, "most", "most_is", said, index, asked, truly)
    named = Named(*o.scene.items[index].pair)
    answer = sentence([(f"the {said} thing is ", None), *counted(named, (index,))])
    about = named if len(named.members(o.scene)) == 1 else None
    return o.exchange("most", "most", {"most": o.pick(MOST_WORDS[said])}, answer, about)


def is_most(
    o: Occasion, family: str, template: str, said: str, index: int, asked: Named, truly: Named
) -> Exchange | None:
    """Is the star (`asked`) the biggest? The item `index`, called `truly`, is."""
    true = asked.members(o.scene) == (index,)
    called = asked if true else truly
    fact = sentence([("the ", None), (called.noun(), (index,)), (f" is the {said}", None)])
    slots: dict[str, Text | str] = {"x": o.call(asked), "most": o.pick(MOST_WORDS[said])}
    return o.exchange(family, template, slots, o.verdict(fact, true), asked)


def same_size(o: Occasion) -> Exchange | None:
    """Are the star and the circle the same size?"""
    two = o.two()
    if two is None:
        return None
    one, other, x, y = two
    kinds = {o.scene.items[one].kind, o.scene.items[other].kind}
    ratio = size_ratio(o.scene, one, other)
    slots: dict[str, Text | str] = {"x": o.call(x), "y": o.call(y)}
    if 1 / ALIKE < ratio < ALIKE and (len(kinds) == 1 or kinds <= COMPACT):
        fact = sentence([*_both(x, one, y, other), (" are the same size", None)])
        return o.exchange("same_size", "same_size", slots, o.verdict(fact, True))
    if not sure_size(o.scene, one, other) or o.rng.random() < 0.6:
        return None
    fact = _than("bigger" if ratio > 1 else "smaller", (one, x), (other, y))
    return o.exchange("same_size", "same_size", slots, o.verdict(fact, False))


def _both(x: Named, one: int, y: Named, other: int) -> Text:
    return [("the ", None), (x.noun(), (one,)), (" and the ", None), (y.noun(), (other,))]


def look(o: Occasion, index: int) -> str:
    """ "hollow" or "filled"."""
    return "hollow" if o.scene.items[index].style == "hollow" else "filled"


def is_style(named: Named, index: int, said: str) -> Text:
    """ "The star is hollow."."""
    return sentence([("the ", None), (named.noun(), (index,)), (f" is {said}", None)])


def style(o: Occasion) -> Exchange | None:
    """Is the star filled? Is it filled or hollow? Which things are hollow?"""
    lot = o.rng.random()
    if lot < 0.3:
        return _style_list(o)
    said = o.rng.choice(tuple(STYLE_WORDS))  # so that hollow ones, which are fewer, are asked about as often
    of_it = [index for index in range(len(o.scene.items)) if look(o, index) == said]
    index = o.rng.choice(of_it or range(len(o.scene.items)))
    named, said = o.unique(index), look(o, index)
    if named is None:
        return None
    fact = is_style(named, index, said)
    if lot < 0.5:
        return o.exchange("style", "style_which", {"x": o.call(named), "styles": o.pick(STYLES_WORDS)}, fact, named)
    true = o.rng.random() < 0.5
    asked = said if true else "filled" if said == "hollow" else "hollow"
    slots: dict[str, Text | str] = {"x": o.call(named), "style": o.pick(STYLE_WORDS[asked])}
    return o.exchange("style", "style", slots, o.verdict(fact, true), named)


def _style_list(o: Occasion) -> Exchange | None:
    said = o.rng.choice(tuple(STYLE_WORDS))
    members = tuple(index for index in range(len(o.scene.items)) if look(o, index) == said)
    if not members and o.rng.random() < 0.6:
        return None
    if not members:
        answer = sentence([(f"there are no {said} things", None)])
    else:
        noun = f"{said} things" if len(members) > 1 else f"{said} thing"
        verb = " are " if len(members) > 1 else " is "
        listed = joined([counted(*group) for group in grouped(o.scene, members)])
        answer = sentence([("the ", None), (noun, members), (verb, None), *listed])
    return o.exchange("style", "style_list", {"style": o.pick(STYLE_WORDS[said])}, answer)


def count_style(o: Occasion) -> Exchange | None:
    """How many things are hollow?"""
    said = o.rng.choice(tuple(STYLE_WORDS))
    members = tuple(index for index in range(len(o.scene.items)) if look(o, index) == said)
    count = len(members)
    noun = (f"{said} thing" if count == 1 else f"{said} things", members)
    answer = sentence([(f"there {'is' if count == 1 else 'are'} {NUMBERS[count]} ", None), noun])
    return o.exchange("count_by", "count_style", {"style": o.pick(STYLE_WORDS[said])}, answer)
