"""Later turns that point back: "is it on the left?", "the other one?", "are they red?", "where is the second one?"."""

from __future__ import annotations

from training.embedded.picture_world.answers import colour_answer, kind_answer, where_answer
from training.embedded.picture_world.exchanges import Exchange, Occasion
from training.embedded.picture_world.halves import asked_place
from training.embedded.picture_world.phrases import Named, Text, counted, grouped, sentence
from training.embedded.picture_world.places import sure_size
from training.embedded.picture_world.question_templates import MOST_WORDS, STYLE_WORDS
from training.embedded.picture_world.scenes import COLOUR_NAMES
from training.embedded.picture_world.sizes import compared, extreme, is_most, is_style, look


def single(o: Occasion, last: Exchange) -> tuple[Named, int] | None:
    """What "it" means: a name and its one item."""
    if last.about is None:
        return None
    members = last.about.members(o.scene)
    return (last.about, members[0]) if len(members) == 1 else None


def several(o: Occasion, last: Exchange) -> Named | None:
    """What "they" means: a name of two or more."""
    return last.about if last.about is not None and len(last.about.members(o.scene)) > 1 else None


def follow_half(o: Occasion, last: Exchange) -> Exchange | None:
    """Is it on the left?"""
    it = single(o, last)
    if it is None or last.family in ("half", "where", "at", "follow_where", "follow_half"):
        return None
    asked = asked_place(o, it[1], it[0], corner=o.rng.random() < 0.3)
    return o.exchange("follow_half", "follow_half", {"place": asked[0]}, asked[1], it[0]) if asked else None


def follow_style(o: Occasion, last: Exchange) -> Exchange | None:
    """Is it filled?"""
    it = single(o, last)
    if it is None or last.family in ("style", "follow_style"):
        return None
    said, true = look(o, it[1]), o.rng.random() < 0.5
    asked = said if true else "filled" if said == "hollow" else "hollow"
    answer = o.verdict(is_style(it[0], it[1], said), true)
    return o.exchange("follow_style", "follow_style", {"style": o.pick(STYLE_WORDS[asked])}, answer, it[0])


def follow_size(o: Occasion, last: Exchange) -> Exchange | None:
    """Is it bigger than the star? Is it the biggest?"""
    it = single(o, last)
    if it is None or len(o.scene.items) < 2 or last.family in ("bigger", "most", "same_size", "follow_size"):
        return None
    if o.rng.random() < 0.4:
        said = o.rng.choice(tuple(MOST_WORDS))
        index = extreme(o, said)
        truly = None if index is None else o.unique(index)
        if index is None or truly is None:
            return None
        return is_most(o, "follow_size", "follow_most", said, index, it[0], truly)
    other = o.rng.choice([index for index in range(len(o.scene.items)) if index != it[1]])
    y = o.unique(other)
    if y is None or not sure_size(o.scene, it[1], other):
        return None
    return compared(o, "follow_size", "follow_size", (it[1], it[0]), (other, y))


def _other(o: Occasion, last: Exchange) -> tuple[Named, int] | None:
    """What "the other one" means: the second of two things, or of two of a kind; with a name that only it has."""
    it = single(o, last)
    if it is None:
        return None
    among = range(len(o.scene.items))
    if len(among) != 2:
        if it[0].kind is None:
            return None
        among = Named(it[0].kind).members(o.scene)  # type: ignore[assignment]
    others = [index for index in among if index != it[1]]
    if len(others) != 1:
        return None
    item = o.scene.items[others[0]]
    fit = [named for named in (Named(item.kind), Named(*item.pair)) if len(named.members(o.scene)) == 1]
    return (fit[0], others[0]) if fit else None


def follow_the_other(o: Occasion, last: Exchange) -> Exchange | None:
    """And the other one? Where is it, what colour, what is it?"""
    other = _other(o, last)
    if other is None or last.family == "follow_the_other":
        return None
    named, index = other
    item = o.scene.items[index]
    lot = o.rng.random()
    if lot < 0.35:  # the same question once more
        if last.family in ("where", "follow_where"):
            return _again(o, where_answer(o.scene, index, named), named)
        if last.family in ("colour", "follow_colour"):
            return _again(o, _other_colour(o, named, index), named)
        if last.family == "kind" and len(Named(None, item.colour).members(o.scene)) == 1:
            return _again(o, kind_answer(o.scene, Named(None, item.colour)), named)
        return None
    if lot < 0.6:
        answer: Text | None = _other_colour(o, named, index)
        template = "follow_other_colour"
    elif lot < 0.8:
        answer, template = where_answer(o.scene, index, named), "follow_other_where"
    elif len(o.scene.items) == 2:
        answer = sentence([("the other thing is ", None), *counted(Named(*item.pair), (index,))])
        template = "follow_other_kind"
    else:
        return None
    return o.exchange("follow_the_other", template, {}, answer, named) if answer else None


def _again(o: Occasion, answer: Text | None, named: Named) -> Exchange | None:
    return o.exchange("follow_the_other", "follow_other_one", {}, answer, named) if answer else None


def _other_colour(o: Occasion, named: Named, index: int) -> Text:
    """ "The star is blue."; of two alike "The other star is blue."."""
    if named.colour is None:
        return colour_answer(o.scene, named)
    item = o.scene.items[index]
    return sentence([("the other ", None), (item.kind, (index,)), (f" is {item.colour}", None)])


def follow_they(o: Occasion, last: Exchange) -> Exchange | None:
    """What colour are they? Are they red? Are they the same colour?"""
    they = several(o, last)
    if they is None or they.kind is None or they.colour is not None:
        return None
    if last.family in ("colour", "verify_many", "all", "follow_they", "same"):
        return None
    held = sorted({o.scene.items[index].colour for index in they.members(o.scene)}, key=COLOUR_NAMES.index)
    fact, lot = colour_answer(o.scene, they), o.rng.random()
    if lot < 0.45:
        return o.exchange("follow_they", "follow_they_colour", {}, fact, they)
    if lot < 0.6:
        return o.exchange("follow_they", "follow_they_same", {}, o.verdict(fact, len(held) == 1), they)
    asked = o.rng.choice(held) if o.rng.random() < 0.65 else o.rng.choice(COLOUR_NAMES)
    if not o.allowed(Named(they.kind, asked)):
        return None
    return o.exchange("follow_they", "follow_they_verify", {"red": asked}, o.verdict(fact, held == [asked]), they)


def follow_the_one(o: Occasion, last: Exchange) -> Exchange | None:
    """Where is the red one? Where is the second one?"""
    if last.family == "describe" and o.rng.random() < 0.5:
        return _nth(o)
    they = several(o, last)
    kind = they.kind if they is not None else None
    if they is None and last.family != "describe":
        return None
    among = they.members(o.scene) if they is not None else range(len(o.scene.items))
    colours = [o.scene.items[index].colour for index in among]
    index = o.rng.choice(list(among))
    item = o.scene.items[index]
    named = Named(kind, item.colour)
    if colours.count(item.colour) != 1 or len(named.members(o.scene)) != 1:
        return None
    answer = where_answer(o.scene, index, named)
    if answer is None:
        return None
    return o.exchange("follow_the_one", "follow_the_one", {"red": item.colour}, answer, named)


def _nth(o: Occasion) -> Exchange | None:
    groups = grouped(o.scene, range(len(o.scene.items)))
    if len(groups) < 2 or any(len(members) > 1 for _, members in groups):
        return None
    at = o.rng.randrange(len(groups))
    words = (
        ["last"]
        if at == len(groups) - 1 and (at > 2 or o.rng.random() < 0.4)
        else ["first", "second", "third"][at:][:1]
    )
    if not words:
        return None
    named, members = groups[at]
    answer = where_answer(o.scene, members[0], named)
    return o.exchange("follow_the_one", "follow_nth", {"nth": words[0]}, answer, named) if answer else None
