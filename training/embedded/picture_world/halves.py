"""Families about places in the picture: is it on the left, what is at the top left, how many are in the lower half."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from training.embedded.picture_world.answers import where_answer
from training.embedded.picture_world.exchanges import Exchange, Occasion
from training.embedded.picture_world.phrases import NUMBERS, Named, Text, counted, grouped, joined, sentence
from training.embedded.picture_world.places import at_edge, in_half, region
from training.embedded.picture_world.question_templates import (
    BOTH_HALVES,
    EDGE_WORDS,
    EDGES,
    HALF_WORDS,
    HALVES,
    REGION_WORDS,
    REGIONS,
)
from training.embedded.picture_world.scenes import Item, Scene

OPPOSITE_EDGE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_EDGE_NAMES = tuple(EDGES)
_CORNERS = tuple(place for place in REGIONS if (place[0] == 1) == (place[1] == 1))  # and the middle: one meaning each


@dataclass(frozen=True, slots=True)
class Area:
    """A side of the picture, or a half of it, as somebody asked for it.

    Attributes:
        edge: "left", "right", "top" or "bottom".
        asked: the words in the question.
        said: the words in the answer.
        holds: whether an item is there; None where people would not agree.
    """

    edge: str
    asked: str
    said: str
    holds: Callable[[Scene, Item, str], bool | None]

    def of(self, scene: Scene, item: Item) -> bool | None:
        """Whether the item is there."""
        return self.holds(scene, item, self.edge)

    def members(self, scene: Scene) -> tuple[int, ...] | None:
        """Which items are there; None where that is not clear for each."""
        held = [self.of(scene, item) for item in scene.items]
        return None if None in held else tuple(index for index, there in enumerate(held) if there)


def area(o: Occasion, edge: str) -> Area:
    """In words by lot: a side, or now and then a half."""
    if o.wordings != "plain" and o.rng.random() < 0.25:
        return Area(edge, o.rng.choice(HALF_WORDS[edge]), HALVES[edge], in_half)
    return Area(edge, o.pick(EDGE_WORDS[edge]), EDGES[edge], at_edge)


def half(o: Occasion) -> Exchange | None:
    """Is the circle on the left? Is it on the left or on the right? Are the circles at the top?"""
    lot = o.rng.random()
    if lot < 0.15:
        return _several(o)
    index = o.rng.randrange(len(o.scene.items))
    named = o.unique(index)
    if named is None:
        return None
    if lot < 0.35:
        return _which_half(o, index, named)
    asked = asked_place(o, index, named, corner=lot < 0.6)
    if asked is None:
        return None
    place, answer = asked
    return o.exchange("half", "half", {"x": o.call(named), "place": place}, answer, named)


def asked_place(o: Occasion, index: int, named: Named, *, corner: bool) -> tuple[str, Text] | None:
    """A place that an item may be at, in words, and the answer to whether it is; None where it is not clear."""
    item = o.scene.items[index]
    true = o.rng.random() < 0.5
    if corner:
        own = region(o.scene, item)
        if own is None or (true and own not in _CORNERS):
            return None
        wanted = own if true else o.rng.choice([place for place in _CORNERS if place != own])
        fact = where_answer(o.scene, index, named)
        return None if fact is None else (o.pick(REGION_WORDS[REGIONS[wanted]]), o.verdict(fact, true))
    areas = [area(o, edge) for edge in _EDGE_NAMES]
    fit = [one for one in areas if one.of(o.scene, item) is true]
    if not fit:
        return None
    asked = o.rng.choice(fit)
    if not true:  # where it is instead: on the opposite side, or in the middle of the two
        other = OPPOSITE_EDGE[asked.edge]
        if asked.holds(o.scene, item, other):
            fact = _is_at(named, index, HALVES[other] if asked.holds is in_half else EDGES[other])
        else:
            fact = where_answer(o.scene, index, named)
        return None if fact is None else (asked.asked, o.verdict(fact, False))
    return asked.asked, o.verdict(_is_at(named, index, asked.said), True)


def _is_at(named: Named, index: int, place: str) -> Text:
    return sentence([("the ", None), (named.noun(), (index,)), (f" is {place}", None)])


def _which_half(o: Occasion, index: int, named: Named) -> Exchange | None:
    across = o.rng.random() < 0.5
    edges = ("left", "right") if across else ("top", "bottom")
    held = [edge for edge in edges if in_half(o.scene, o.scene.items[index], edge)]
    if not held:
        return None
    places = o.pick(BOTH_HALVES["across" if across else "down"])
    slots: dict[str, Text | str] = {"x": o.call(named), "places": places}
    return o.exchange("half", "half_which", slots, _is_at(named, index, EDGES[held[0]]), named)


def _several(o: Occasion) -> Exchange | None:
    named = Named(o.rng.choice(o.scene.items).kind)
    members = named.members(o.scene)
    edge = o.rng.choice(_EDGE_NAMES)
    if len(members) < 2:
        return None
    for there, answered in ((edge, True), (OPPOSITE_EDGE[edge], False)):
        if all(at_edge(o.scene, o.scene.items[index], there) for index in members):
            fact = sentence([("the ", None), (named.noun(True), members), (f" are {EDGES[there]}", None)])
            slots: dict[str, Text | str] = {"xs": o.call(named, plural=True), "place": o.pick(EDGE_WORDS[edge])}
            return o.exchange("half", "half_many", slots, o.verdict(fact, answered), named)
    return None


def at(o: Occasion) -> Exchange | None:
    """What is at the top left? What is on the left?"""
    if o.rng.random() < 0.45:
        asked = area(o, o.rng.choice(_EDGE_NAMES))
        members = asked.members(o.scene)
        said, words = asked.said, asked.asked
    else:
        regions = [region(o.scene, item) for item in o.scene.items]
        place = o.rng.choice(regions) if o.rng.random() < 0.75 else o.rng.choice(_CORNERS)
        if place is None or place not in _CORNERS or None in regions:
            return None
        members = tuple(index for index, held in enumerate(regions) if held == place)
        said = REGIONS[place]
        words = o.pick(REGION_WORDS[said])
    if members is None or (not members and o.rng.random() < 0.5):
        return None
    answer: Text = [(f"{said} there {'are' if _first_count(o, members) > 1 else 'is'} ", None)]
    groups = grouped(o.scene, members)
    answer += joined([counted(*group) for group in groups]) if groups else [("nothing", None)]
    about = groups[0][0] if len(groups) == 1 and len(groups[0][0].members(o.scene)) == len(members) else None
    return o.exchange("at", "at", {"place": words}, sentence(answer), about)


def _first_count(o: Occasion, members: tuple[int, ...]) -> int:
    groups = grouped(o.scene, members)
    return len(groups[0][1]) if groups else 1


def count_half(o: Occasion) -> Exchange | None:
    """How many things are on the left? How many circles are in the upper half?"""
    asked = area(o, o.rng.choice(_EDGE_NAMES))
    named = Named() if o.rng.random() < 0.6 else o.present()
    there = [asked.of(o.scene, o.scene.items[index]) for index in named.members(o.scene)]
    if None in there:
        return None
    members = tuple(index for index, held in zip(named.members(o.scene), there, strict=True) if held)
    count = len(members)
    verb = "is" if count == 1 else "are"
    noun = (named.noun(plural=count != 1), members)
    answer = sentence([(f"there {verb} {NUMBERS[count]} ", None), noun, (f" {asked.said}", None)])
    slots: dict[str, Text | str] = {"xs": o.call(named, plural=True), "place": asked.asked}
    return o.exchange("count_by", "count_half", slots, answer)
