"""Words for sets of items, and text that remembers which words mean which items.

A text is built as segments; a segment that names items carries their indices, so the spans of mentions fall out of the
building and can not disagree with the text. Knows no questions.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from training.embedded.picture_world.scenes import COLOUR_NAMES, KINDS, Scene, described_order

Segment = tuple[str, tuple[int, ...] | None]
Text = list[Segment]

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
SYNONYMS: dict[str, tuple[str, ...]] = {  # never a word that another kind could be meant by
    "circle": ("disc", "disk", "ball", "dot", "round shape", "round thing", "round one", "round object"),
    "square": ("box", "square shape", "square thing"),
    "triangle": ("triangular shape", "triangular thing", "triangle shape"),
    "star": ("star shape", "little star"),
    "heart": ("love heart", "heart shape"),
    "diamond": ("rhombus", "diamond shape", "lozenge"),
    "cross": ("plus", "plus sign", "plus shape", "cross shape"),
    "moon": ("crescent", "crescent moon", "half moon"),
    "house": ("home", "building", "hut", "cottage", "little house"),
    "tree": ("little tree",),
    "fish": ("little fish",),
    "boat": ("ship", "sailboat", "sailing boat", "sail boat", "little boat"),
    "car": ("auto", "automobile", "motor car", "motorcar"),
    "cat": ("kitty", "kitten", "pussycat", "kitty cat"),
}
COLOUR_SYNONYMS = {"grey": ("gray",), "purple": ("violet",)}
THINGS = ("thing", "shape", "object", "item", "figure")
PICTURES = ("picture", "image", "photo", "drawing", "pic", "photograph", "img")
_OTHERS = """
left right above below over under beneath underneath top bottom upper lower higher middle centre
bigger larger smaller biggest largest smallest tiniest filled hollow empty solid outline more than less
first second third other both same different only every many much where what which there three these
colour colours color colors shape shapes kind kinds things objects items figures background fishes
dog bird sun boy girl man book cup hat bus key cow pig goat coat hare bear boot root foot stair stare
when then them they this that think thin with were here have hear mood noon cart care scar cars
cats stars hearts squares circles triangles diamonds crosses moons houses trees boats homes boxes bats
"""
MATTERING = frozenset(  # a misspelt one of these can be read as no other of them (slips.py)
    " ".join([
        *(*KINDS, *COLOUR_NAMES, *THINGS, *NUMBERS, _OTHERS),
        *(way for ways in (*SYNONYMS.values(), *COLOUR_SYNONYMS.values()) for way in ways),
    ]).split()
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mention:
    """Words that name items.

    Attributes:
        part: of the exchange.
        start: first character.
        end: one past the last.
        items: which items of the scene they mean; none where what they name is absent.
    """

    part: Literal["question", "answer"]
    start: int
    end: int
    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A set of items as one names it: by kind ("circle"), by colour ("red thing"), by both, or all ("thing")."""

    kind: str | None = None
    colour: str | None = None

    def members(self, scene: Scene) -> tuple[int, ...]:
        """Which items of a scene it means."""
        kind, colour = self.kind, self.colour  # asked for a hundred times a picture
        return tuple([
            index
            for index, item in enumerate(scene.items)
            if (kind is None or item.kind == kind) and (colour is None or item.colour == colour)
        ])  # fmt: skip

    def noun(self, plural: bool = False, *, rng: random.Random | None = None) -> str:
        """ "red circles"; with `rng`, now and then in other words, as people do."""
        kind, colour = self.kind or "thing", self.colour
        if rng is not None:
            if self.kind is None:
                kind = rng.choice(THINGS) if rng.random() < 0.6 else "thing"
                if colour is not None and rng.random() < 0.1:
                    kind = "one"
            elif rng.random() < 0.12:
                kind = rng.choice(SYNONYMS[kind])
            if colour in COLOUR_SYNONYMS and rng.random() < 0.3:
                colour = rng.choice(COLOUR_SYNONYMS[colour])
        word = plural_of(kind) if plural else kind
        return f"{colour} {word}" if colour else word


def plural_of(noun: str) -> str:
    """The plural of a noun of this world."""
    if noun.endswith("fish"):
        return noun
    if noun.endswith("kitty"):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def article(noun: str) -> str:
    """ "a" or "an", as the noun asks."""
    return "an" if noun[0] in "aeio" else "a"


def joined(parts: list[Text]) -> Text:
    """ "a", "a and b", "a, b and c"."""
    text: Text = []
    for index, part in enumerate(parts):
        if index:
            text.append((" and " if index == len(parts) - 1 else ", ", None))
        text.extend(part)
    return text


def counted(named: Named, members: tuple[int, ...], *, one: str | None = None) -> Text:
    """ "a red circle", "two red circles", "no red circle"; `one` replaces the article of a single one."""
    count = len(members)
    noun = named.noun(plural=count > 1)
    lead = NUMBERS[count] if count != 1 else (one or article(noun))
    return [(lead + " ", None), (noun, members)]


def grouped(scene: Scene, members: Iterable[int]) -> list[tuple[Named, tuple[int, ...]]]:
    """Items by (kind, colour), in the order of descriptions."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index in members:
        groups.setdefault(scene.items[index].pair, []).append(index)
    return [(Named(*pair), tuple(groups[pair])) for pair in sorted(groups, key=described_order)]


@lru_cache(maxsize=4096)
def _pieces(template: str) -> tuple[tuple[str, str | None], ...]:
    pieces: list[tuple[str, str | None]] = []
    for chunk in template.split("{"):
        name, brace, rest = chunk.partition("}")
        if brace:
            pieces.append(("", name))
            pieces.append((rest, None))
        else:
            pieces.append((chunk, None))
    return tuple(pieces)


def fill(template: str, slots: dict[str, Text | str]) -> Text:
    """A template ("is there {a}") with its slots filled."""
    text: Text = []
    for words, slot in _pieces(template):
        if slot is None:
            if words:
                text.append((words, None))
        else:
            value = slots[slot]
            if isinstance(value, str):
                text.append((value, None))
            else:
                text.extend(value)
    return text


def spelled(text: Text, part: Literal["question", "answer"]) -> tuple[str, list[Mention]]:
    """The characters of a text and its mentions."""
    at, words, mentions = 0, [], []
    for piece, items in text:
        words.append(piece)
        if items is not None:
            mentions.append(Mention(part, at, at + len(piece), items))
        at += len(piece)
    return "".join(words), mentions


def sentence(text: Text) -> Text:
    """With a capital and a full stop."""
    first, items = text[0]
    return [(first[:1].upper() + first[1:], items), *text[1:], (".", None)]
