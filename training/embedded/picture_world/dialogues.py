"""Conversations about one picture: "and what colour is it?", "how many of them?", "and the star?".

The first question gives "it" or "they" a meaning (`Exchange.about`); a follow-up has one right answer by that meaning.
A part of the later turns is independent, so that a model has to look which it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from training.embedded.picture_world.answers import (
    absence,
    beside_answer,
    colour_answer,
    count_answer,
    kind_answer,
    where_answer,
)
from training.embedded.picture_world.exchanges import Exchange, Occasion, Order, Pairs
from training.embedded.picture_world.phrases import PICTURES, Named, Text, counted, sentence
from training.embedded.picture_world.places import SIDES
from training.embedded.picture_world.question_templates import SIDE_WORDS
from training.embedded.picture_world.questions import CORE, exchanges
from training.embedded.picture_world.references import (
    follow_half,
    follow_size,
    follow_style,
    follow_the_one,
    follow_the_other,
    follow_they,
    single,
)
from training.embedded.picture_world.scenes import COLOUR_NAMES, Scene
from training.embedded.picture_world.wording import Wordings

_OF_ALL = (*PICTURES, "see", "list", "everything")
OPENERS = ("exist", "kind", "where", "side", "colour", "count", "describe", "verify", "relation")
WIDE_OPENERS = (*OPENERS, *OPENERS, "half", "style", "bigger", "most", "count_check", "at")


def dialogue(
    scene: Scene,
    rng: random.Random,
    *,
    turns: int = 2,
    wordings: Wordings = "train",
    pairs: Pairs = "train",
    only_follow_ups: bool = False,
    order: Order = "fact",
) -> list[Exchange]:
    """A conversation of `turns` questions.

    The families of follow-ups begin with "follow_". One turn in four is an independent question instead, unless
    `only_follow_ups`.
    """
    occasion = Occasion(scene, rng, wordings, pairs, order)
    said = exchanges(scene, rng, n=1, families=WIDE_OPENERS, wordings=wordings, pairs=pairs, order=order)
    while only_follow_ups and not _possible(occasion, said[0]):
        said = exchanges(scene, rng, n=1, families=WIDE_OPENERS, wordings=wordings, pairs=pairs, order=order)
    while len(said) < turns:
        said.append(_next(occasion, said[-1], only_follow_ups))
    return said


def _possible(o: Occasion, last: Exchange) -> bool:
    return any(follow(o, last) is not None for follow in FOLLOW_UPS)


def _next(o: Occasion, last: Exchange, only_follow_ups: bool) -> Exchange:
    if only_follow_ups or o.rng.random() < 0.75:
        for _ in range(60):
            exchange = o.rng.choice(FOLLOW_UPS)(o, last)
            if exchange is not None:
                return exchange
    while True:
        exchange = exchanges(o.scene, o.rng, n=1, families=CORE, wordings=o.wordings, pairs=o.pairs, order=o.order)[0]
        if exchange.family != "describe" or any(word in exchange.question.lower() for word in _OF_ALL):
            return exchange  # "what is that" could mean the thing just spoken of


def follow_colour(o: Occasion, last: Exchange) -> Exchange | None:
    it = single(o, last)
    if it is None or (it[0].colour is not None and last.family != "exist") or last.family in ("colour", "verify"):
        return None
    return o.exchange("follow_colour", "follow_colour", {}, colour_answer(o.scene, it[0]), it[0])


def follow_where(o: Occasion, last: Exchange) -> Exchange | None:
    it = single(o, last)
    answer = where_answer(o.scene, it[1], it[0]) if it and last.family not in ("where", "follow_where") else None
    if it is None or answer is None:
        return None
    return o.exchange("follow_where", "follow_where", {}, answer, it[0])


def follow_count(o: Occasion, last: Exchange) -> Exchange | None:
    if last.about is None or last.family in ("count", "follow_count") or not last.about.members(o.scene):
        return None
    if last.family not in ("exist", "colour", "kind"):
        return None
    return o.exchange("follow_count", "follow_count", {}, count_answer(o.scene, last.about), last.about)


def follow_kind(o: Occasion, last: Exchange) -> Exchange | None:
    it = single(o, last)
    if it is None or it[0].kind is not None or it[0].colour is None or last.family == "kind":
        return None
    return o.exchange("follow_kind", "follow_kind", {}, kind_answer(o.scene, it[0]), it[0])


def follow_verify(o: Occasion, last: Exchange) -> Exchange | None:
    it = single(o, last)
    if it is None or it[0].kind is None or it[0].colour is not None or last.family in ("colour", "verify"):
        return None
    true, colour = o.rng.random() < 0.5, o.scene.items[it[1]].colour
    asked = colour if true else o.rng.choice([name for name in COLOUR_NAMES if name != colour])
    if not o.allowed(Named(it[0].kind, asked)):
        return None
    answer = o.verdict(colour_answer(o.scene, it[0]), true)
    return o.exchange("follow_verify", "follow_verify", {"red": asked}, answer, it[0])


def follow_beside(o: Occasion, last: Exchange) -> Exchange | None:
    it, side = single(o, last), o.rng.choice(SIDES)
    if it is None or len(o.scene.items) < 2:
        return None
    answer = beside_answer(o.scene, it[1], it[0], side)
    if answer is None:
        return None
    return o.exchange("follow_beside", "follow_beside", {"side": o.rng.choice(SIDE_WORDS[side])}, answer)


def follow_other(o: Occasion, last: Exchange) -> Exchange | None:
    """And the star? The same question about another."""
    if last.family not in ("colour", "where", "follow_colour", "follow_where") or last.about is None:
        return None
    colour = last.family.endswith("colour")
    if o.rng.random() < 0.2:
        named = o.absent()
        if colour and named.colour is not None:
            return None
        return o.exchange("follow_other", "follow_other", {"x": o.call(named)}, absence(named))
    index = o.rng.randrange(len(o.scene.items))
    named = Named(o.scene.items[index].kind)
    members = named.members(o.scene)
    if named.kind == last.about.kind or len(members) != 1:
        return None
    answer = colour_answer(o.scene, named) if colour else where_answer(o.scene, index, named)
    return o.exchange("follow_other", "follow_other", {"x": o.call(named)}, answer, named) if answer else None


def follow_others(o: Occasion, last: Exchange) -> Exchange | None:
    """And stars? After "is there …" and "how many …"."""
    if last.family not in ("exist", "count", "follow_count"):
        return None
    named = o.absent() if o.rng.random() < 0.4 else o.present()
    if named == last.about:
        return None
    members = named.members(o.scene)
    if last.family == "exist":
        lead: Text = [("yes, there " if members else "no, there ", None), ("are " if len(members) > 1 else "is ", None)]
        answer = sentence([*lead, *counted(named, members)])
    else:
        answer = count_answer(o.scene, named)
    slots: dict[str, Text | str] = {"xs": o.call(named, plural=True)}
    return o.exchange("follow_others", "follow_others", slots, answer, named if members else None)


def follow_sure(o: Occasion, last: Exchange) -> Exchange | None:
    """Are you sure? The fact once more, without its yes or no."""
    if last.family in ("follow_sure", "talk", "unknowable", "unknown_thing"):
        return None
    fact = last.answer
    for lead in ("Yes, ", "No, "):
        if fact.startswith(lead):
            fact = fact.removeprefix(lead)
            fact = fact[0].upper() + fact[1:]
    for tail in (", so yes.", ", so no."):
        if fact.endswith(tail):
            fact = fact.removesuffix(tail) + "."
    exchange = o.exchange("follow_sure", "follow_sure", {}, [("Yes, I am sure. " + fact, None)], last.about)
    shift = len(exchange.answer) - len(last.answer)
    if fact == last.answer:  # the same words: their mentions move along
        moved = [
            replace(mention, start=mention.start + shift, end=mention.end + shift)
            for mention in last.mentions
            if mention.part == "answer"
        ]
        exchange = replace(exchange, mentions=(*exchange.mentions, *moved))
    return exchange


FOLLOW_UPS: tuple[Callable[[Occasion, Exchange], Exchange | None], ...] = (
    *(follow_colour, follow_colour, follow_where, follow_where, follow_count, follow_count, follow_kind),
    *(follow_verify, follow_beside, follow_other, follow_other, follow_others, follow_sure),
    *(follow_half, follow_style, follow_size, follow_the_other, follow_the_other, follow_they, follow_the_one),
)
