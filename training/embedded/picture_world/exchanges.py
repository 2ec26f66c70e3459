"""One question with its one right answer, and what its words mean in the picture."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from training.embedded.picture_world.phrases import Mention, Named, Text, spelled
from training.embedded.picture_world.places import BINS, SIZE_CLASSES, bin_of, size_class
from training.embedded.picture_world.scenes import COLOUR_NAMES, HELD_OUT_PAIRS, KINDS, MOST_ITEMS, Scene
from training.embedded.picture_world.wording import Wordings, ask

Pairs = Literal["train", "all"]
Order = Literal["fact", "verdict"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer.

    Attributes:
        family: what kind of question it is.
        question: as a person typed it.
        answer: the one right answer.
        mentions: the words in both that name items.
        about: what "it" or "they" would mean right after; None where nothing clear.
    """

    family: str
    question: str
    answer: str
    mentions: tuple[Mention, ...] = ()
    about: Named | None = None


@dataclass(frozen=True, slots=True)
class Occasion:
    """Somebody asks about a scene.

    Attributes:
        scene: what is in the picture.
        rng: the lots.
        wordings: which templates may be used.
        pairs: "train" never names a pair of `HELD_OUT_PAIRS`.
        order: of a yes or no and its fact: "The circle is red, so yes." or "Yes, the circle is red.".
    """

    scene: Scene
    rng: random.Random
    wordings: Wordings = "train"
    pairs: Pairs = "train"
    order: Order = "fact"

    def exchange(
        self, family: str, template: str, slots: dict[str, Text | str], answer: Text, about: Named | None = None
    ) -> Exchange:
        """Ask by the templates called `template` and answer."""
        return self.said(family, ask(template, slots, self.rng, self.wordings), answer, about)

    def said(self, family: str, question: Text, answer: Text, about: Named | None = None) -> Exchange:
        """Put question and answer down."""
        asked, first = spelled(question, "question")
        told, second = spelled(answer, "answer")
        return Exchange(family, asked, told, (*first, *second), about)

    def call(self, named: Named, *, plural: bool = False) -> Text:
        """The words for a set in a question."""
        rng = None if self.wordings == "plain" else self.rng
        return [(named.noun(plural, rng=rng), named.members(self.scene))]

    def unique(self, index: int) -> Named | None:
        """Some way to name this item and no other; None where another is just alike."""
        item, rng = self.scene.items[index], self.rng
        ways = [Named(item.kind), Named(item.kind, item.colour), Named(None, item.colour)]
        fit = [way for way in ways if len(way.members(self.scene)) == 1]
        if not fit:
            return None
        return fit[0] if rng.random() < 0.45 else rng.choice(fit)

    def absent(self) -> Named:
        """A set that has no member here, not too far from what is."""
        rng, items = self.rng, self.scene.items
        while True:
            lot, near = rng.random(), rng.choice(items)
            kind = near.kind if 0.5 < lot < 0.7 else rng.choice(KINDS)
            colour = near.colour if 0.7 < lot < 0.9 else rng.choice(COLOUR_NAMES)
            named = Named(kind) if lot < 0.35 else Named(None, colour) if lot < 0.5 else Named(kind, colour)
            if self.allowed(named) and not named.members(self.scene):
                return named

    def present(self) -> Named:
        """A set that has members: a kind, a colour or both."""
        item, lot = self.rng.choice(self.scene.items), self.rng.random()
        return Named(item.kind) if lot < 0.4 else Named(None, item.colour) if lot < 0.6 else Named(*item.pair)

    def two(self) -> tuple[int, int, Named, Named] | None:
        """Two items and a way to name each alone; None where there are not two, or one is just like a third."""
        if len(self.scene.items) < 2:
            return None
        one, other = self.rng.sample(range(len(self.scene.items)), 2)
        x, y = self.unique(one), self.unique(other)
        return None if x is None or y is None else (one, other, x, y)

    def verdict(self, fact: Text, true: bool) -> Text:
        """A sentence and yes or no, in the order that is wanted."""
        if self.order == "fact":
            return [*fact[:-1], (", so yes." if true else ", so no.", None)]
        first, items = fact[0]
        return [("Yes, " if true else "No, ", None), (first[:1].lower() + first[1:], items), *fact[1:]]

    def pick(self, words: Sequence[str]) -> str:
        """One of several ways to say it, the first being the usual."""
        return words[0] if self.wordings == "plain" or self.rng.random() < 0.4 else self.rng.choice(words)

    def allowed(self, named: Named) -> bool:
        """Whether a question may name it."""
        return self.pairs == "all" or (named.kind, named.colour) not in HELD_OUT_PAIRS


MENTION_TARGETS = (MOST_ITEMS + 1, BINS, BINS, SIZE_CLASSES, 2)  # classes of each of `mention_targets`


def mention_targets(scene: Scene, mention: Mention) -> tuple[int, int, int, int, int]:
    """(count, column, row, size, hollow) of what the words mean.

    How many items; and if it is one, its bins in the picture, its class of size and whether it is hollow; else -1.
    """
    if len(mention.items) != 1:
        return len(mention.items), -1, -1, -1, -1
    item = scene.items[mention.items[0]]
    return 1, bin_of(item.x), bin_of(item.y), size_class(scene, item), int(item.style == "hollow")
