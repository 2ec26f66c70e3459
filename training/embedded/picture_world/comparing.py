"""Questions about two pictures of one conversation: which has more, what both show, what differs, or about one.

The first picture was shown in an earlier turn, the second with the question. Only items of the second are mentions: the
grounding of mentions (mentions.py) knows one picture.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from training.embedded.picture_world.answers import colour_answer, count_answer, there_is
from training.embedded.picture_world.exchanges import Exchange, Occasion, Order, Pairs
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
from training.embedded.picture_world.scenes import KINDS, Scene
from training.embedded.picture_world.wording import Wordings

WHICH = {  # how one of the two is called
    "first": ("the first picture", "the first image", "the first one", "the previous picture", "the earlier picture"),
    "second": ("the second picture", "the second image", "the second one", "the last picture", "the new picture"),
}
Slots = dict[str, Text | str]


@dataclass(frozen=True, slots=True)
class Two:
    """Somebody asks about two pictures."""

    first: Scene
    o: Occasion  # of the second

    def counts(self, named: Named) -> tuple[int, int]:
        """How many of them each picture holds."""
        return len(named.members(self.first)), len(named.members(self.o.scene))

    def named(self) -> Named:
        """Something that one of the two holds, or seldom neither."""
        rng = self.o.rng
        if rng.random() < 0.12:
            return Named(rng.choice(KINDS))
        item = rng.choice((*self.first.items, *self.o.scene.items))
        return Named(item.kind) if rng.random() < 0.75 else Named(None, item.colour)

    def slots(self, named: Named) -> Slots:
        """Words for it; mentions of the second picture's items."""
        noun, several = (self._said(named, plural) for plural in (False, True))
        return {"x": noun, "xs": several, "a": [(article(noun[0][0]) + " ", None), *noun]}

    def _said(self, named: Named, plural: bool) -> Text:
        words = self.o.call(named, plural=plural)
        return words if named.members(self.o.scene) else [(words[0][0], None)]


def compare(
    first: Scene,
    second: Scene,
    rng: random.Random,
    *,
    wordings: Wordings = "train",
    pairs: Pairs = "train",
    order: Order = "fact",
) -> Exchange:
    """A question about two pictures; its family begins with "compare"."""
    two = Two(first, Occasion(second, rng, wordings, pairs, order))
    while True:
        exchange = rng.choices(_ASK, _SHARES)[0](two)
        if exchange is not None:
            return exchange


def _said(two: Two, template: str, slots: Slots, answer: Text) -> Exchange:
    return two.o.exchange("compare", template, slots, answer)


def _more(two: Two) -> Exchange | None:
    """Which picture has more circles?"""
    everything = two.o.rng.random() < 0.25
    named = Named() if everything else two.named()
    one, other = two.counts(named)
    if one == other and two.o.rng.random() < 0.4:
        return None
    if one == other:
        lead = "both pictures have " if one else "neither picture has "
        answer = sentence([(lead + (f"{NUMBERS[one]} " if one else "any "), None), (named.noun(one != 1), None)])
    else:
        said = "first" if one > other else "second"
        answer = sentence([(f"the {said} picture has more {named.noun(True)}", None)])
    if everything:
        things = plural_of("thing" if two.o.wordings == "plain" else two.o.rng.choice(THINGS))
        return _said(two, "compare_all", {"things": things}, answer)
    return _said(two, "compare_more", two.slots(named), answer)


def _which_has(two: Two) -> Exchange | None:
    """Which picture has a circle? Is there a circle in both?"""
    named = two.named()
    one, other = two.counts(named)
    noun = named.noun()
    if one and other:
        said = f"both pictures have {article(noun)} {noun}"
    elif one or other:
        said = f"only the {'first' if one else 'second'} picture has {article(noun)} {noun}"
    else:
        said = f"neither picture has {article(noun)} {noun}"
    return _said(two, "compare_which_has", two.slots(named), sentence([(said, None)]))


def _common(two: Two) -> Exchange | None:
    """What do both pictures have?"""
    held = [kind for kind in KINDS if all(two.counts(Named(kind)))]
    if not held:
        if two.o.rng.random() < 0.5:
            return None
        return _said(two, "compare_common", {}, [("The pictures have nothing in common.", None)])
    listed: Text = joined([[(f"{article(kind)} {kind}", None)] for kind in held])
    return _said(two, "compare_common", {}, sentence([("both pictures have ", None), *listed]))


def _both(two: Two) -> Exchange | None:
    """Compare the two pictures."""
    parts: Text = []
    for name, scene in (("first", two.first), ("second", two.o.scene)):
        groups = grouped(scene, range(len(scene.items)))
        verb = "are" if len(groups[0][1]) > 1 else "is"
        parts += [(f"In the {name} picture there {verb} ", None), *joined([counted(*group) for group in groups])]
        parts.append((". " if name == "first" else ".", None))
    held = len(two.first.items) + len(two.o.scene.items)
    return None if held > 6 and two.o.rng.random() < 0.7 else _said(two, "compare_both", {}, _unmarked(two, parts))


def _unmarked(two: Two, text: Text) -> Text:
    """The mentions of the first picture's items taken off: those before "In the second picture"."""
    second = next(at for at, (words, _) in enumerate(text) if words.startswith("In the second"))
    return [(words, items if at > second else None) for at, (words, items) in enumerate(text)]


def _one(two: Two) -> Exchange | None:
    """What is in the first picture? How many circles are in the second one?"""
    rng = two.o.rng
    name = rng.choice(tuple(WHICH))
    scene = two.first if name == "first" else two.o.scene
    which = WHICH[name][0] if two.o.wordings == "plain" else rng.choice(WHICH[name])
    lot, lead = rng.random(), f"in the {name} picture "
    named = two.named()
    members = named.members(scene)
    if lot < 0.4:
        groups = grouped(scene, range(len(scene.items)))
        verb = "are" if len(groups[0][1]) > 1 else "is"
        answer = sentence([(f"{lead}there {verb} ", None), *joined([counted(*group) for group in groups])])
        slots: Slots = {"which": which}
        template = "one_describe"
    elif lot < 0.6:
        answer = _led(lead, count_answer(scene, named))
        template, slots = "one_count", {**two.slots(named), "which": which}
    elif lot < 0.8:
        answer = sentence([("yes, " if members else "no, ", None), (lead, None), *there_is(named, members)])
        template, slots = "one_exist", {**two.slots(named), "which": which}
    else:
        if named.kind is None or not members:
            return None
        answer = _led(lead, colour_answer(scene, named))
        template, slots = "one_colour", {**two.slots(named), "which": which}
        if len(members) > 1:
            return None
    if name == "first":
        answer = [(words, None) for words, _ in answer]
        slots = {
            key: [(w, None) for w, _ in value] if isinstance(value, list) else value for key, value in slots.items()
        }
    return _said(two, template, slots, answer)


def _led(lead: str, fact: Text) -> Text:
    first, items = fact[0]
    return [(lead[0].upper() + lead[1:], None), (first[0].lower() + first[1:], items), *fact[1:]]


_ASK: tuple[Callable[[Two], Exchange | None], ...] = (_more, _which_has, _common, _both, _one)
_SHARES = (1.2, 1.2, 0.8, 1.0, 1.6)
