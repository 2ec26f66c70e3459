"""Questions about a scene, each with exactly one right answer by construction; nothing hangs on a near tie.

A family is a function from an occasion to an exchange, or None where the scene has nothing of the sort to ask.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from training.embedded.picture_world.exchanges import Exchange, Occasion, Pairs, so
from training.embedded.picture_world.phrases import (
    NUMBERS,
    THINGS,
    Named,
    Text,
    article,
    counted,
    grouped,
    joined,
    plural_of,
    sentence,
)
from training.embedded.picture_world.places import (
    RELATION_MARGIN,
    SIDES,
    nearest,
    offset,
    region,
)
from training.embedded.picture_world.question_templates import REGIONS, SAID_SIDE, SIDE_WORDS
from training.embedded.picture_world.scenes import COLOUR_NAMES, KINDS, Item, Scene
from training.embedded.picture_world.talk import chat_with_picture, unknowable, unknown_thing
from training.embedded.picture_world.wider import at, bigger, ground, most, palette
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
) -> list[Exchange]:
    """`n` independent questions about a scene.

    Args:
        scene: what is in the picture.
        rng: the lots.
        n: how many; families that this scene can not serve are passed over.
        families: which to ask of (names of `FAMILIES`), in their usual shares; `CORE` where None.
        wordings: "plain" the two plainest templates, "train" all but the held-out ones, "held_out" only those.
        pairs: "train" names no held-out pair; "all" may.

    Raises:
        ValueError: no family asked for fits the scene.
    """
    occasion = Occasion(scene, rng, wordings, pairs)
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


def there_is(named: Named, members: tuple[int, ...]) -> Text:
    """ "there is a red circle", "there are two red circles", "there is no red circle"."""
    verb = "are" if len(members) > 1 else "is"
    return [(f"there {verb} ", None), *counted(named, members)]


def description(scene: Scene) -> Text:
    """All there is, grouped and sorted: "There are two red circles and a blue star."."""
    groups = grouped(scene, range(len(scene.items)))
    verb = "are" if len(groups[0][1]) > 1 else "is"
    return sentence([(f"there {verb} ", None), *joined([counted(*group) for group in groups])])


def absence(named: Named) -> Text:
    """What to say when asked about something that is not there."""
    return sentence([("there is no ", None), (named.noun(), ()), (" in the picture", None)])


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


def colour_answer(scene: Scene, named: Named) -> Text:
    """ "The circle is red.", "The circles are red and blue."."""
    members = named.members(scene)
    held = sorted({scene.items[index].colour for index in members}, key=COLOUR_NAMES.index)
    listed: Text = joined([[(name, None)] for name in held])
    verb = " are " if len(members) > 1 else " is "
    return sentence([("the ", None), (named.noun(len(members) > 1), members), (verb, None), *listed])


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
    if named.colour is not None or lot < 0.3:
        return o.exchange("refuse", "where", slots, absence(named))
    if lot < 0.5:
        slots |= {"y": slots["x"], "side": rng.choice(SIDE_WORDS[rng.choice(SIDES)])}
        return o.exchange("refuse", "beside", slots, absence(named))
    return o.exchange("refuse", "colour" if lot < 0.9 else "colours", slots, absence(named))


def count(o: Occasion) -> Exchange | None:
    lot = o.rng.random()
    if lot < 0.2:
        members = tuple(range(len(o.scene.items)))
        things: Text = [(plural_of("thing" if o.wordings == "plain" else o.rng.choice(THINGS)), members)]
        return o.exchange("count", "count_all", {"things": things}, count_answer(o.scene, Named()))
    named = o.absent() if lot < 0.35 else o.present()
    members = named.members(o.scene)
    slots: dict[str, Text | str] = {"x": o.call(named), "xs": o.call(named, plural=True)}
    return o.exchange("count", "count", slots, count_answer(o.scene, named), named if members else None)


def count_answer(scene: Scene, named: Named) -> Text:
    """ "There is one red circle.", "There are no red circles."."""
    members = named.members(scene)
    verb = "is" if len(members) == 1 else "are"
    noun = named.noun(plural=len(members) != 1)
    return sentence([(f"there {verb} {NUMBERS[len(members)]} ", None), (noun, members)])


def describe(o: Occasion) -> Exchange | None:
    groups = grouped(o.scene, range(len(o.scene.items)))
    return o.exchange("describe", "describe", {}, description(o.scene), groups[0][0] if len(groups) == 1 else None)


def kind(o: Occasion) -> Exchange | None:
    named = Named(None, o.rng.choice(o.scene.items).colour)
    template, slots = _ask_one_or_more(o, named, "kind", "kinds")
    slots["red"] = [(named.colour or "", named.members(o.scene))]
    return o.exchange("kind", template, slots, kind_answer(o.scene, named), named)


def kind_answer(scene: Scene, named: Named) -> Text:
    """ "The red thing is a circle.", "The red things are two circles and a star."."""
    members = named.members(scene)
    held = sorted({scene.items[index].kind for index in members}, key=KINDS.index)
    groups = [counted(Named(name), tuple(i for i in members if scene.items[i].kind == name)) for name in held]
    verb = " are " if len(members) > 1 else " is "
    return sentence([("the ", None), (named.noun(len(members) > 1), members), (verb, None), *joined(groups)])


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
        template, fact = "verify_kind", kind_answer
    if len(named.members(o.scene)) != 1 or not o.allowed(doubted):
        return None
    return o.exchange("verify", template, slots, so(fact(o.scene, named), true), named)


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
    return o.exchange("relation", "relation", slots, so(fact, true), x)


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


def beside_answer(scene: Scene, index: int, named: Named, side: str) -> Text | None:
    """ "To the left of the circle there is a red star."; None at a near tie."""
    other = nearest(scene, scene.items[index], side)
    if other is False:
        return None
    lead: Text = [(f"{SAID_SIDE[side]} the ", None), (named.noun(), (index,)), (" there is ", None)]
    if not isinstance(other, Item):
        return sentence([*lead, ("nothing", None)])
    place = next(at for at, item in enumerate(scene.items) if item is other)
    return sentence([*lead, *counted(Named(*other.pair), (place,))])


def where(o: Occasion) -> Exchange | None:
    index = o.rng.randrange(len(o.scene.items))
    named = o.unique(index)
    answer = where_answer(o.scene, index, named) if named else None
    if answer is None or named is None:
        return None
    return o.exchange("where", "where", {"x": o.call(named)}, answer, named)


def where_answer(scene: Scene, index: int, named: Named) -> Text | None:
    """ "The circle is at the top left."; None near a border of regions."""
    place = region(scene, scene.items[index])
    if place is None:
        return None
    return sentence([("the ", None), (named.noun(), (index,)), (f" is {REGIONS[place]}", None)])


FAMILIES: dict[str, tuple[float, Callable[[Occasion], Exchange | None]]] = {  # name -> (share, family)
    "exist": (2.0, exist),
    "colour": (2.0, colour),
    "refuse": (0.9, refuse),
    "count": (2.0, count),
    "describe": (2.2, describe),
    "kind": (1.6, kind),
    "verify": (1.0, verify),
    "relation": (1.6, relation),
    "side": (1.2, which_side),
    "beside": (1.8, beside),
    "where": (1.5, where),
    "unknowable": (0.25, unknowable),
    "unknown_thing": (0.25, unknown_thing),
    "talk": (0.25, chat_with_picture),
    "at": (1.0, at),
    "palette": (0.7, palette),
    "bigger": (0.9, bigger),
    "most": (0.7, most),
    "ground": (0.2, ground),
}
WIDE = ("at", "palette", "bigger", "most", "ground")
CORE = tuple(name for name in FAMILIES if name not in WIDE)
LEFT_OUT = ("bigger", "most")  # sizes stayed under 50 % in training: the tower has no label for them
SHIPPED = tuple(name for name in FAMILIES if name not in LEFT_OUT)
