"""Questions about a scene, each with exactly one right answer by construction; nothing hangs on a near tie.

A family is a function from an occasion to an exchange, or None where the scene has nothing of the sort to ask.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from training.embedded.picture_world.answers import (
    absence,
    beside_answer,
    colour_answer,
    count_answer,
    description,
    kind_answer,
    there_is,
    where_answer,
)
from training.embedded.picture_world.exchanges import Exchange, Occasion, Order, Pairs
from training.embedded.picture_world.halves import at, half
from training.embedded.picture_world.phrases import THINGS, Named, Text, article, grouped, plural_of, sentence
from training.embedded.picture_world.places import RELATION_MARGIN, SIDES, offset
from training.embedded.picture_world.question_templates import EDGE_WORDS, SAID_SIDE, SIDE_WORDS, STYLE_WORDS
from training.embedded.picture_world.scenes import COLOUR_NAMES, KINDS, Scene
from training.embedded.picture_world.sets import (
    all_of_them,
    count_by,
    count_check,
    ground,
    more,
    palette,
    same,
    verify_many,
)
from training.embedded.picture_world.sizes import bigger, most, same_size, style
from training.embedded.picture_world.talk import chat_with_picture, unknowable, unknown_thing
from training.embedded.picture_world.wording import Wordings

OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}


def exchanges(
    scene: Scene,
    rng: random.Random,
    *,
    n: int,
    families: Sequence[str] | None = None,
    wordings: Wordings = "train",
    pairs: Pairs = "train",
    order: Order = "fact",
) -> list[Exchange]:
    """`n` independent questions about a scene.

    Args:
        scene: what is in the picture.
        rng: the lots.
        n: how many; families that this scene can not serve are passed over.
        families: which to ask of (names of `FAMILIES`), in their usual shares; `CORE` where None.
        wordings: "plain" the two plainest templates, "train" all but the held-out ones, "held_out" only those.
        pairs: "train" names no held-out pair; "all" may.
        order: whether yes or no comes after its fact ("The circle is red, so yes.") or before ("Yes, the circle …").

    Raises:
        ValueError: no family asked for fits the scene.
    """
    occasion = Occasion(scene, rng, wordings, pairs, order)
    names = list(families or CORE)
    shares = [FAMILIES[name][0] for name in names]
    asked: list[Exchange] = []
    tries = 0
    while len(asked) < n:
        for name in rng.choices(names, shares, k=n - len(asked)):
            for _ in range(6):  # another two items may be fit where these are not
                exchange = FAMILIES[name][1](occasion)
                if exchange is not None:
                    asked.append(exchange)
                    break
        tries += 1
        if tries > 40:
            raise ValueError(f"this scene of {len(scene.items)} has no question of {', '.join(names)}")
    return asked


def exist(o: Occasion) -> Exchange | None:
    named = o.absent() if o.rng.random() < 0.5 else o.present()
    members = named.members(o.scene)
    answer = sentence([("yes, " if members else "no, ", None), *there_is(named, members)])
    if named.kind is None and o.rng.random() < 0.5:
        colour = named.colour or ""
        return o.exchange("exist", "exist_colour", {"red": [(colour, members)]}, answer, named)
    noun = o.call(named)
    slots: dict[str, Text | str] = {
        "a": [(article(noun[0][0]) + " ", None), *noun],
        "x": noun,
        "xs": o.call(named, plural=True),
    }
    return o.exchange("exist", "exist", slots, answer, named)


def colour(o: Occasion) -> Exchange | None:
    named = Named(o.rng.choice(o.scene.items).kind)
    return o.exchange("colour", *_ask_one_or_more(o, named, "colour", "colours"), colour_answer(o.scene, named), named)


def _ask_one_or_more(o: Occasion, named: Named, one: str, more: str) -> tuple[str, dict[str, Text | str]]:
    """The templates for the right number, and seldom for the wrong one, as people do."""
    several = (len(named.members(o.scene)) > 1) != (o.wordings != "plain" and o.rng.random() < 0.08)
    slots: dict[str, Text | str] = {"x": o.call(named), "xs": o.call(named, plural=True)}
    return (more if several else one), slots


def refuse(o: Occasion) -> Exchange | None:
    named, rng = o.absent(), o.rng
    slots: dict[str, Text | str] = {"x": o.call(named), "xs": o.call(named, plural=True)}
    lot = rng.random()
    if named.colour is not None and named.kind is None:
        slots["red"] = named.colour
        return o.exchange("refuse", "kind" if lot < 0.6 else "where", slots, absence(named))
    if named.colour is not None or lot < 0.2:
        return o.exchange("refuse", "where", slots, absence(named))
    if lot < 0.5:  # any other question about it
        two = o.rng.randrange(len(o.scene.items))
        slots["y"] = o.call(o.unique(two) or Named(*o.scene.items[two].pair))
        slots |= {"red": rng.choice(COLOUR_NAMES), "style": o.pick(rng.choice(list(STYLE_WORDS.values())))}
        slots |= {"place": o.pick(rng.choice(list(EDGE_WORDS.values()))), "size": rng.choice(("bigger", "smaller"))}
        slots["side"] = o.pick(SIDE_WORDS[rng.choice(SIDES)])
        template = rng.choice(("beside", "verify", "relation", "half", "bigger", "style"))
        if template == "beside":
            slots["y"] = slots["x"]
        return o.exchange("refuse", template, slots, absence(named))
    return o.exchange("refuse", "colour" if lot < 0.9 else "colours", slots, absence(named))


def count(o: Occasion) -> Exchange | None:
    lot = o.rng.random()
    if lot < 0.2:
        members = tuple(range(len(o.scene.items)))
        things: Text = [(plural_of("thing" if o.wordings == "plain" else o.rng.choice(THINGS)), members)]
        return o.exchange("count", "count_all", {"things": things}, count_answer(o.scene, Named()))
    named = o.absent() if lot < 0.35 else o.present()
    members = named.members(o.scene)
    noun = o.call(named)
    slots: dict[str, Text | str] = {"x": noun, "xs": o.call(named, plural=True)}
    slots["a"] = [(article(noun[0][0]) + " ", None), *noun]
    return o.exchange("count", "count", slots, count_answer(o.scene, named), named if members else None)


def describe(o: Occasion) -> Exchange | None:
    groups = grouped(o.scene, range(len(o.scene.items)))
    return o.exchange("describe", "describe", {}, description(o.scene), groups[0][0] if len(groups) == 1 else None)


def kind(o: Occasion) -> Exchange | None:
    named = Named(None, o.rng.choice(o.scene.items).colour)
    template, slots = _ask_one_or_more(o, named, "kind", "kinds")
    slots["red"] = [(named.colour or "", named.members(o.scene))]
    return o.exchange("kind", template, slots, kind_answer(o.scene, named), named)


def verify(o: Occasion) -> Exchange | None:
    """Is the circle red? Is the red thing a circle?"""
    index = o.rng.randrange(len(o.scene.items))
    item, true = o.scene.items[index], o.rng.random() < 0.5
    if o.rng.random() < 0.7:
        named = Named(item.kind)
        asked = item.colour if true else o.rng.choice([name for name in COLOUR_NAMES if name != item.colour])
        slots: dict[str, Text | str] = {"x": o.call(named), "red": asked}
        template, fact, doubted = "verify", colour_answer, Named(item.kind, asked)
    else:
        named = Named(None, item.colour)
        asked = item.kind if true else o.rng.choice([name for name in KINDS if name != item.kind])
        doubted = Named(asked, item.colour)
        slots = {"x": o.call(named), "a": [(f"{article(asked)} ", None), (asked, doubted.members(o.scene))]}
        slots["red"] = item.colour
        template, fact = "verify_kind", kind_answer
    if len(named.members(o.scene)) != 1 or not o.allowed(doubted):
        return None
    return o.exchange("verify", template, slots, o.verdict(fact(o.scene, named), true), named)


def _related(o: Occasion) -> tuple[str, Named, Named, Text] | None:
    """(true side, x, y, the sentence that says so)."""
    two = o.two()
    if two is None:
        return None
    one, other, x, y = two
    side = o.rng.choice(SIDES)
    away = offset(o.scene, o.scene.items[one], o.scene.items[other], side)
    if abs(away) < RELATION_MARGIN:
        return None
    side = side if away > 0 else OPPOSITE[side]
    fact: Text = [("the ", None), (x.noun(), (one,)), (f" is {SAID_SIDE[side]} the ", None), (y.noun(), (other,))]
    return side, x, y, sentence(fact)


def relation(o: Occasion) -> Exchange | None:
    related = _related(o)
    if related is None:
        return None
    side, x, y, fact = related
    true = o.rng.random() < 0.5
    words = SIDE_WORDS[side if true else OPPOSITE[side]]
    slots: dict[str, Text | str] = {"x": o.call(x), "y": o.call(y), "side": o.pick(words)}
    return o.exchange("relation", "relation", slots, o.verdict(fact, true), x)


def which_side(o: Occasion) -> Exchange | None:
    related = _related(o)
    if related is None:
        return None
    side, x, y, fact = related
    slots: dict[str, Text | str] = {"x": o.call(x), "y": o.call(y), "sides": _both_sides(o, side)}
    return o.exchange("side", "side", slots, fact, x)


def _both_sides(o: Occasion, side: str) -> str:
    if side in ("left", "right"):
        ways = ("left or right of", "to the left or to the right of", "to the left or right of", "right or left of")
    else:
        ways = ("above or below", "above or below", "over or under", "below or above")
    return o.pick(ways)


def beside(o: Occasion) -> Exchange | None:
    index = o.rng.randrange(len(o.scene.items))
    named, side = o.unique(index), o.rng.choice(SIDES)
    answer = beside_answer(o.scene, index, named, side) if named else None
    if answer is None or named is None or (answer[-2][0].endswith("nothing") and o.rng.random() < 0.5):
        return None
    slots: dict[str, Text | str] = {"y": o.call(named), "side": o.pick(SIDE_WORDS[side])}
    return o.exchange("beside", "beside", slots, answer)


def where(o: Occasion) -> Exchange | None:
    index = o.rng.randrange(len(o.scene.items))
    named = o.unique(index)
    answer = where_answer(o.scene, index, named) if named else None
    if answer is None or named is None:
        return None
    return o.exchange("where", "where", {"x": o.call(named)}, answer, named)


FAMILIES: dict[str, tuple[float, Callable[[Occasion], Exchange | None]]] = {  # name -> (share, family)
    "exist": (2.0, exist),
    "colour": (2.0, colour),
    "refuse": (1.1, refuse),
    "count": (2.0, count),
    "describe": (2.2, describe),
    "kind": (1.6, kind),
    "verify": (1.2, verify),
    "relation": (1.6, relation),
    "side": (1.2, which_side),
    "beside": (1.8, beside),
    "where": (1.5, where),
    "unknowable": (0.4, unknowable),
    "unknown_thing": (0.4, unknown_thing),
    "talk": (0.3, chat_with_picture),
    "at": (1.0, at),
    "palette": (0.6, palette),
    "ground": (0.5, ground),
    "half": (1.2, half),
    "bigger": (1.0, bigger),
    "most": (0.8, most),
    "same_size": (0.5, same_size),
    "style": (1.0, style),
    "verify_many": (0.8, verify_many),
    "same": (0.8, same),
    "all": (0.9, all_of_them),
    "count_check": (0.7, count_check),
    "count_by": (1.1, count_by),
    "more": (0.7, more),
}
CORE = tuple(name for name in FAMILIES if list(FAMILIES).index(name) < list(FAMILIES).index("at"))
WIDE = tuple(name for name in FAMILIES if name not in CORE)
SHIPPED = tuple(FAMILIES)
