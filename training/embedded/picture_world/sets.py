"""Families about many things at once: the same, all and any, numbers to check, more, how many not, the background."""

from __future__ import annotations

from training.embedded.picture_world.answers import absence, colour_answer, count_answer, kind_answer, there_is
from training.embedded.picture_world.exchanges import Exchange, Occasion
from training.embedded.picture_world.grounds import ground_name
from training.embedded.picture_world.halves import count_half
from training.embedded.picture_world.phrases import (
    NUMBERS,
    Named,
    Text,
    article,
    joined,
    plural_of,
    sentence,
)
from training.embedded.picture_world.scenes import COLOUR_NAMES, KINDS
from training.embedded.picture_world.sizes import count_style

Slots = dict[str, Text | str]


def palette(o: Occasion) -> Exchange | None:
    """What colours are there?"""
    held = sorted({item.colour for item in o.scene.items}, key=COLOUR_NAMES.index)
    lead = "the colours are " if len(held) > 1 else "the only colour is "
    return o.exchange("palette", "palette", {}, sentence([(lead, None), *joined([[(name, None)] for name in held])]))


def ground(o: Occasion) -> Exchange | None:
    """What colour is the background? Is it white?"""
    said = ground_name(o.scene)
    if said is None:
        return None
    fact = sentence([(f"the background is {said}", None)])
    if o.rng.random() < 0.6:
        return o.exchange("ground", "ground", {}, fact)
    true = o.rng.random() < 0.5
    asked = said if true else o.rng.choice([name for name in COLOUR_NAMES if name != said])
    return o.exchange("ground", "ground_is", {"red": asked}, o.verdict(fact, true))


def same(o: Occasion) -> Exchange | None:
    """Are the star and the circle the same colour? Are all things the same shape?"""
    lot = o.rng.random()
    if lot < 0.35:
        return _all_same(o)
    if lot < 0.75:
        return _same_colour(o)
    return _same_kind(o)


def _alike(o: Occasion, kind: bool) -> tuple[int, int] | None:
    """Two items, half of the time alike in kind (or colour) where there are such."""
    count = len(o.scene.items)
    pairs = [(one, other) for one in range(count) for other in range(count) if one != other]
    if not pairs:
        return None
    wanted = o.rng.random() < 0.5
    fit = [
        (one, other)
        for one, other in pairs
        if (
            o.scene.items[one].kind == o.scene.items[other].kind
            if kind
            else o.scene.items[one].colour == o.scene.items[other].colour
        )
        == wanted
    ]
    return o.rng.choice(fit) if fit else None


def _same_colour(o: Occasion) -> Exchange | None:
    pair = _alike(o, kind=False)
    if pair is None:
        return None
    one, other = pair
    x, y = Named(o.scene.items[one].kind), Named(o.scene.items[other].kind)
    if len(x.members(o.scene)) != 1 or len(y.members(o.scene)) != 1:
        return None
    colours = o.scene.items[one].colour, o.scene.items[other].colour
    return o.exchange("same", "same_colour", _two(o, x, y), o.verdict(_each(o, x, y, colours), len({*colours}) == 1))


def _same_kind(o: Occasion) -> Exchange | None:
    pair = _alike(o, kind=True)
    if pair is None:
        return None
    one, other = pair
    x, y = Named(None, o.scene.items[one].colour), Named(None, o.scene.items[other].colour)
    if len(x.members(o.scene)) != 1 or len(y.members(o.scene)) != 1:
        return None
    kinds = o.scene.items[one].kind, o.scene.items[other].kind
    said = [f"{article(kind)} {kind}" for kind in kinds] if len({*kinds}) > 1 else [plural_of(kinds[0])] * 2
    return o.exchange("same", "same_kind", _two(o, x, y), o.verdict(_each(o, x, y, said), len({*kinds}) == 1))


def _two(o: Occasion, x: Named, y: Named) -> Slots:
    return {"x": o.call(x), "y": o.call(y)}


def _each(o: Occasion, x: Named, y: Named, said: tuple[str, str] | list[str]) -> Text:
    """ "The star and the circle are red.", "The star is red and the circle is blue."."""
    one, other = (x.noun(), x.members(o.scene)), (y.noun(), y.members(o.scene))
    if said[0] == said[1]:
        return sentence([("the ", None), one, (" and the ", None), other, (f" are {said[0]}", None)])
    return sentence([("the ", None), one, (f" is {said[0]} and the ", None), other, (f" is {said[1]}", None)])


def _all_same(o: Occasion) -> Exchange | None:
    if len(o.scene.items) < 2:
        return None
    if o.rng.random() < 0.6:
        alike = len({item.colour for item in o.scene.items}) == 1
        template, fact = "all_same_colour", colour_answer(o.scene, Named())
    else:
        alike = len({item.kind for item in o.scene.items}) == 1
        template, fact = "all_same_kind", kind_answer(o.scene, Named())
    if not alike and o.rng.random() < 0.75:
        return None
    return o.exchange("same", template, {}, o.verdict(fact, alike))


def all_of_them(o: Occasion) -> Exchange | None:
    """Is everything red? Are all the circles red? Is any circle red? Are there only circles? Is there only one?"""
    return o.rng.choice((_everything, _only_kind, _only_one, _all_colour, _any_colour))(o)


def _everything(o: Occasion) -> Exchange | None:
    held = {item.colour for item in o.scene.items}
    true = len(held) == 1
    if len(o.scene.items) < 2 or (not true and o.rng.random() < 0.5):
        return None
    near = o.rng.choice(o.scene.items).colour
    if true and o.rng.random() < 0.4:
        true, near = False, o.rng.choice([name for name in COLOUR_NAMES if name not in held])
    return o.exchange("all", "everything", {"red": near}, o.verdict(colour_answer(o.scene, Named()), true))


def _only_kind(o: Occasion) -> Exchange | None:
    held = {item.kind for item in o.scene.items}
    true = len(held) == 1
    if len(o.scene.items) < 2 or (not true and o.rng.random() < 0.5):
        return None
    near = o.rng.choice(o.scene.items).kind
    if true and o.rng.random() < 0.4:
        true, near = False, o.rng.choice([name for name in KINDS if name not in held])
    named = Named(near)
    noun = o.call(named)
    slots: Slots = {"xs": o.call(named, plural=True), "a": [(article(noun[0][0]) + " ", None), *noun]}
    return o.exchange("all", "only_kind", slots, o.verdict(kind_answer(o.scene, Named()), true))


def _only_one(o: Occasion) -> Exchange | None:
    named = o.present() if o.rng.random() < 0.85 else o.absent()
    members = named.members(o.scene)
    if len(members) == 1 and o.rng.random() < 0.5:
        return None
    slots: Slots = {"x": o.call(named), "xs": o.call(named, plural=True)}
    about = named if members else None
    return o.exchange("all", "only_one", slots, o.verdict(count_answer(o.scene, named), len(members) == 1), about)


def _all_colour(o: Occasion) -> Exchange | None:
    named = Named(o.rng.choice(o.scene.items).kind)
    members = named.members(o.scene)
    held = {o.scene.items[index].colour for index in members}
    if len(members) < 2 or (len(held) > 1 and o.rng.random() < 0.3):
        return None
    asked = o.rng.choice(sorted(held)) if o.rng.random() < 0.75 else o.rng.choice(COLOUR_NAMES)
    if not o.allowed(Named(named.kind, asked)):
        return None
    slots: Slots = {"x": o.call(named), "xs": o.call(named, plural=True), "red": asked}
    return o.exchange("all", "all_colour", slots, o.verdict(colour_answer(o.scene, named), held == {asked}), named)


def _any_colour(o: Occasion) -> Exchange | None:
    kind = o.rng.choice(o.scene.items).kind
    held = sorted({item.colour for item in o.scene.items if item.kind == kind})
    asked = Named(kind, o.rng.choice(held) if o.rng.random() < 0.5 else o.rng.choice(COLOUR_NAMES))
    if not o.allowed(asked):
        return None
    members = asked.members(o.scene)
    answer = sentence([("yes, " if members else "no, ", None), *there_is(asked, members)])
    slots: Slots = {"x": o.call(Named(kind)), "xs": o.call(Named(kind), plural=True), "red": asked.colour or ""}
    return o.exchange("all", "any_colour", slots, answer, asked if members else None)


def verify_many(o: Occasion) -> Exchange | None:
    """Are the circles yellow? Are the star and the circle red?"""
    if o.rng.random() < 0.3:
        return _verify_two(o)
    if o.rng.random() < 0.15:
        named = o.absent()
        if named.kind is None or named.colour is not None:
            return None
        slots: Slots = {"xs": o.call(named, plural=True), "red": o.rng.choice(COLOUR_NAMES)}
        return o.exchange("verify_many", "verify_many", slots, absence(named))
    named = Named(o.rng.choice(o.scene.items).kind)
    members = named.members(o.scene)
    held = {o.scene.items[index].colour for index in members}
    lot = o.rng.random()
    if len(members) < 2 and lot < 0.75:
        return None
    asked = o.rng.choice(sorted(held)) if o.rng.random() < 0.6 else o.rng.choice(COLOUR_NAMES)
    if not o.allowed(Named(named.kind, asked)):
        return None
    one = len(members) > 1 and o.wordings != "plain" and lot < 0.12  # the singular for several, as people do
    slots = {"x": o.call(named), "xs": o.call(named, plural=True), "red": asked}
    fact = colour_answer(o.scene, named)
    return o.exchange("verify_many", "verify" if one else "verify_many", slots, o.verdict(fact, held == {asked}), named)


def _verify_two(o: Occasion) -> Exchange | None:
    pair = _alike(o, kind=False)
    if pair is None:
        return None
    one, other = pair
    x, y = Named(o.scene.items[one].kind), Named(o.scene.items[other].kind)
    if len(x.members(o.scene)) != 1 or len(y.members(o.scene)) != 1:
        return None
    colours = o.scene.items[one].colour, o.scene.items[other].colour
    asked = o.rng.choice(colours) if o.rng.random() < 0.75 else o.rng.choice(COLOUR_NAMES)
    if not (o.allowed(Named(x.kind, asked)) and o.allowed(Named(y.kind, asked))):
        return None
    slots: Slots = {**_two(o, x, y), "red": asked}
    fact = _each(o, x, y, colours)
    return o.exchange("verify_many", "verify_two", slots, o.verdict(fact, {*colours} == {asked}))


def count_check(o: Occasion) -> Exchange | None:
    """Are there two circles?"""
    named = Named() if o.rng.random() < 0.2 else o.present() if o.rng.random() < 0.9 else o.absent()
    count = len(named.members(o.scene))
    asked = count if o.rng.random() < 0.5 else count + o.rng.choice((-1, 1, 1, 2))
    if not 2 <= asked < len(NUMBERS):
        return None
    number = NUMBERS[asked] if o.wordings == "plain" or o.rng.random() < 0.7 else str(asked)
    slots: Slots = {"n": number, "xs": o.call(named, plural=True)}
    about = named if count and named.kind else None
    fact = count_answer(o.scene, named)
    return o.exchange("count_check", "count_check", slots, o.verdict(fact, asked == count), about)


def more(o: Occasion) -> Exchange | None:
    """Are there more circles than stars? Are there more circles or stars?"""
    x = o.present()
    y = o.present() if o.rng.random() < 0.8 else o.absent()
    if (x.kind is None) != (y.kind is None) or (x.colour is None) != (y.colour is None) or x == y:
        return None
    if o.rng.random() < 0.5:
        x, y = y, x
    mine, theirs = x.members(o.scene), y.members(o.scene)
    slots: Slots = {"xs": o.call(x, plural=True), "ys": o.call(y, plural=True)}
    if len(mine) == len(theirs) and o.rng.random() < 0.5:
        return None
    if o.rng.random() < 0.5:
        verb = "are" if len(mine) != 1 else "is"
        listed: Text = [*_number_of(x, mine), (" and ", None), *_number_of(y, theirs)]
        fact = sentence([(f"there {verb} ", None), *listed])
        return o.exchange("more", "more", slots, o.verdict(fact, len(mine) > len(theirs)))
    if len(mine) == len(theirs):
        first, words, second = (x, mine), ("as many ", " as "), (y, theirs)
    else:
        first, second = ((x, mine), (y, theirs)) if len(mine) > len(theirs) else ((y, theirs), (x, mine))
        words = ("more ", " than ")
    said = [(first[0].noun(True), first[1]), (words[1], None), (second[0].noun(True), second[1])]
    return o.exchange("more", "more_which", slots, sentence([(f"there are {words[0]}", None), *said]))


def _number_of(named: Named, members: tuple[int, ...]) -> Text:
    """ "two circles", "one circle", "no circles"."""
    return [(NUMBERS[len(members)] + " ", None), (named.noun(len(members) != 1), members)]


def count_by(o: Occasion) -> Exchange | None:
    """How many are not red, are hollow, are on the left? How many colours are there?"""
    return o.rng.choice((_count_not, _count_not, count_style, count_half, count_half, _count_colours))(o)


def _count_not(o: Occasion) -> Exchange | None:
    asked = o.rng.choice(o.scene.items).colour if o.rng.random() < 0.85 else o.rng.choice(COLOUR_NAMES)
    members = tuple(index for index, item in enumerate(o.scene.items) if item.colour != asked)
    count = len(members)
    lead = f"there {'is' if count == 1 else 'are'} {NUMBERS[count]} "
    noun = ("thing" if count == 1 else "things", members)
    answer = sentence([(lead, None), noun, (f" that {'is' if count == 1 else 'are'} not {asked}", None)])
    return o.exchange("count_by", "count_not", {"red": asked}, answer)


def _count_colours(o: Occasion) -> Exchange | None:
    by_colour = o.rng.random() < 0.6
    held = {item.colour if by_colour else item.kind for item in o.scene.items}
    one, many = ("colour", "colours") if by_colour else ("kind of thing", "kinds of things")
    verb, noun = ("is", one) if len(held) == 1 else ("are", many)
    answer = sentence([(f"there {verb} {NUMBERS[len(held)]} {noun}", None)])
    return o.exchange("count_by", "count_colours" if by_colour else "count_kinds", {}, answer)
