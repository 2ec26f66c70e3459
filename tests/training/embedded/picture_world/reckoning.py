"""A second way to the answers: plain questions are read as text, and answered from the scene's numbers alone.

Shares no code with the families: words, counting, geometry and sentences are done anew, as plainly as can be.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from training.embedded.picture_world.scenes import Item, Scene

_KINDS = "circle square triangle star heart diamond cross moon house tree fish boat car cat"
_COLOURS = "red orange yellow green blue purple pink brown black white grey"
_NUMBERS = "no one two three four five six seven eight nine"
KINDS, COLOURS, NUMBERS = _KINDS.split(), _COLOURS.split(), _NUMBERS.split()
SIDES = {"to the left of": (-1, 0), "to the right of": (1, 0), "above": (0, -1), "below": (0, 1)}
OTHER = {
    "to the left of": "to the right of",
    "above": "below",
    "on the left": "on the right",
    "at the top": "at the bottom",
}
OTHER |= {there: here for here, there in OTHER.items()}
EDGES = {"on the left": (0, 0), "on the right": (0, 1), "at the top": (1, 0), "at the bottom": (1, 1)}
GRID = [
    ["at the top left", "at the top", "at the top right"],
    ["on the left", "in the middle", "on the right"],
    ["at the bottom left", "at the bottom", "at the bottom right"],
]
Answer = tuple[bool | None, str]  # yes, no or neither, and the fact


def plural(kind: str) -> str:
    return {"fish": "fish", "cross": "crosses"}.get(kind, kind + "s")


def named(words: str) -> tuple[str, str]:
    """ "red circles" -> (colour or "", kind or "thing")."""
    colour, _, noun = words.rpartition(" ")
    for kind in (*KINDS, "thing"):
        if noun in (kind, plural(kind)):
            return colour, kind
    raise ValueError(words)


def known(words: str) -> bool:
    """Whether it names something that may be in a picture."""
    colour, _, noun = words.rpartition(" ")
    return colour in ("", *COLOURS) and any(noun in (kind, plural(kind)) for kind in (*KINDS, "thing"))


def meant(scene: Scene, words: str) -> list[Item]:
    colour, kind = named(words)
    return [item for item in scene.items if colour in ("", item.colour) and kind in ("thing", item.kind)]


def the(scene: Scene, words: str) -> Item:
    (item,) = meant(scene, words)
    return item


def noun(words: str, many: bool) -> str:
    colour, kind = named(words)
    return f"{colour} {plural(kind) if many else kind}".strip()


def number(count: int, words: str, one: str = "one") -> str:
    return f"{one if count == 1 else NUMBERS[count]} {noun(words, count != 1)}"


def article(words: str) -> str:
    return ("an " if words[0] in "aeio" else "a ") + words


def listing(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def things(items: list[Item]) -> str:
    """ "two red circles and a star", in the order of descriptions."""

    def rank(item: Item) -> tuple[int, int]:
        return KINDS.index(item.kind), COLOURS.index(item.colour)

    parts = []
    for (kind, colour), same in groupby(sorted(items, key=rank), lambda item: (KINDS[rank(item)[0]], item.colour)):
        count = len(list(same))
        parts.append(article(f"{colour} {kind}") if count == 1 else number(count, f"{colour} {kind}"))
    return listing(parts)


def there(items: list[Item]) -> str:
    said = things(items) if items else "nothing"
    return f"there {'are' if said.split()[0] in NUMBERS[2:] else 'is'} {said}"


def colours(items: list[Item]) -> str:
    return listing(sorted({item.colour for item in items}, key=COLOURS.index))


def kinds(items: list[Item]) -> str:
    held = [(kind, sum(item.kind == kind for item in items)) for kind in KINDS]
    return listing([article(kind) if count == 1 else number(count, kind) for kind, count in held if count])


def is_are(items: list[Item]) -> str:
    return "are" if len(items) > 1 else "is"


def of_set(scene: Scene, words: str, said: Callable[[list[Item]], str]) -> str:
    items = meant(scene, words)
    return f"the {noun(words, len(items) > 1)} {is_are(items)} {said(items)}"


def counted(scene: Scene, words: str) -> str:
    count = len(meant(scene, words))
    return f"there {'is' if count == 1 else 'are'} {number(count, words)}"


def pixels(scene: Scene, item: Item) -> tuple[float, float]:
    """The middle, in a square of side 1, the longer side of the picture being 1."""
    return item.x * scene.width / 96, item.y * scene.height / 96


def place(scene: Scene, item: Item) -> str:
    return GRID[int(item.y * 3)][int(item.x * 3)]


def at(scene: Scene, item: Item, where: str) -> bool:
    if where in EDGES:
        axis, end = EDGES[where]
        along = (item.x, item.y)[axis]
        return (along if end == 0 else 1 - along) < 1 / 3
    return place(scene, item) == where


def nearest(scene: Scene, item: Item, side: str) -> list[Item]:
    across, down = SIDES[side]
    x, y = pixels(scene, item)
    found = []
    for other in scene.items:
        a, b = pixels(scene, other)
        if other is not item and (a - x) * across + (b - y) * down > 0.04:
            found.append((((a - x) ** 2 + (b - y) ** 2) ** 0.5, other))
    return [min(found, key=lambda pair: pair[0])[1]] if found else []


def side_fact(scene: Scene, x: str, y: str, sides: tuple[str, str]) -> tuple[str, str]:
    """(true side, sentence)."""
    (a, b), (c, d) = pixels(scene, the(scene, x)), pixels(scene, the(scene, y))
    across, down = SIDES[sides[0]]
    side = sides[0] if (a - c) * across + (b - d) * down > 0 else sides[1]
    return side, f"the {x} is {side} the {y}"


def larger(scene: Scene, x: str, y: str) -> bool:
    return the(scene, x).radius > the(scene, y).radius


def style(item: Item) -> str:
    return "hollow" if item.style == "hollow" else "filled"


def unique_name(scene: Scene, item: Item) -> set[str]:
    ways = (item.kind, f"{item.colour} {item.kind}", f"{item.colour} thing")
    return {way for way in ways if len(meant(scene, way)) == 1}


def absent(s: Scene, words: str) -> Answer | None:
    return None if meant(s, words) else (None, f"there is no {noun(words, False)} in the picture")


def bigger(s: Scene, x: str, asked: str, y: str) -> Answer:
    missing = absent(s, x)
    if missing:
        return missing
    truly = "bigger" if larger(s, x, y) else "smaller"
    return asked == truly, f"the {x} is {truly} than the {y}"


def which(s: Scene, asked: str, x: str, y: str) -> Answer:
    if larger(s, x, y) != (asked == "bigger"):
        x, y = y, x
    return None, f"the {x} is {asked} than the {y}"


def which_of_two(s: Scene, asked: str) -> set[str]:
    one, other = sorted(s.items, key=lambda item: item.radius, reverse=asked == "bigger")
    return {f"the {x} is {asked} than the {y}" for x in unique_name(s, one) for y in unique_name(s, other)}


def most(s: Scene, asked: str) -> Answer:
    item = (max if asked == "biggest" else min)(s.items, key=lambda item: item.radius)
    return None, f"the {asked} thing is {things([item])}"


def is_most(s: Scene, x: str, asked: str) -> set[str]:
    item = (max if asked == "biggest" else min)(s.items, key=lambda item: item.radius)
    if the(s, x) is item:
        return {f"the {x} is the {asked}, so yes"}
    return {f"the {way} is the {asked}, so no" for way in unique_name(s, item)}


def same_size(s: Scene, x: str, y: str) -> Answer:
    ratio = the(s, x).radius / the(s, y).radius
    if 0.95 < ratio < 1.06:
        return True, f"the {x} and the {y} are the same size"
    return False, f"the {x} is {'bigger' if ratio > 1 else 'smaller'} than the {y}"
