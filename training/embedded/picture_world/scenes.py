"""What may be in a drawn picture, and drawing lots for it.

A `Scene` is plain data: items on a plain ground, in a picture of some shape. Nothing here draws, asks or labels.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import Literal

from training.embedded.picture_world.placing import SIDE as SIDE
from training.embedded.picture_world.placing import SMALLEST as SMALLEST
from training.embedded.picture_world.placing import random_places

Rgb = tuple[int, int, int]
Split = Literal["train", "new", "held_out_pairs"]
Style = Literal["filled", "edged", "hollow"]
Texture = Literal["plain", "down", "across", "round", "stripes", "squares", "paper", "speckles"]
TEXTURES: tuple[Texture, ...] = ("down", "down", "across", "round", "stripes", "squares", "paper", "paper", "speckles")

MOST_ITEMS = 8

KINDS = (
    *("circle", "square", "triangle", "star", "heart", "diamond", "cross"),
    *("moon", "house", "tree", "fish", "boat", "car", "cat"),
)

COLOURS: dict[str, tuple[Rgb, ...]] = {  # everyday tones, the pure CSS ones among them
    "red": ((255, 0, 0), (220, 20, 60), (214, 40, 40), (244, 67, 54)),
    "orange": ((255, 165, 0), (255, 140, 0), (243, 150, 18), (230, 126, 34), (255, 127, 14)),
    "yellow": ((255, 255, 0), (255, 215, 0), (245, 205, 20), (255, 235, 59)),
    "green": ((0, 128, 0), (0, 255, 0), (46, 204, 113), (76, 175, 80), (34, 139, 34)),
    "blue": ((0, 0, 255), (30, 144, 255), (52, 152, 219), (31, 100, 180), (65, 105, 225), (0, 0, 139)),
    "purple": ((128, 0, 128), (142, 68, 173), (148, 0, 211), (106, 27, 154), (147, 90, 219)),
    "pink": ((255, 192, 203), (255, 105, 180), (255, 20, 147), (240, 130, 170)),
    "brown": ((139, 69, 19), (121, 85, 72), (165, 42, 42), (160, 82, 45), (101, 67, 33)),
    "black": ((0, 0, 0), (20, 20, 20), (34, 34, 34)),
    "white": ((255, 255, 255), (245, 245, 245), (250, 250, 250)),
    "grey": ((128, 128, 128), (169, 169, 169), (105, 105, 105), (149, 160, 163)),
}
COLOUR_NAMES = tuple(COLOURS)

HELD_OUT_PAIRS = frozenset(  # (kind, colour) that never occur in training
    {
        ("circle", "purple"),
        ("square", "orange"),
        ("triangle", "pink"),
        ("star", "grey"),
        ("heart", "yellow"),
        ("diamond", "brown"),
        ("cross", "blue"),
        ("moon", "white"),
        ("tree", "black"),
        ("fish", "red"),
        ("car", "green"),
        ("cat", "purple"),
    }
)

LEAST_CONTRAST = 110  # item against ground, summed over channels; more on dark grounds, where eyes see less
THINNEST = {"filled": 0.0, "edged": 0.75, "hollow": 1.25}  # stroke; a thinner one mixes its colour with the ground's
PLAIN_KINDS = frozenset(KINDS[:8])  # one outline each; people seldom draw the others hollow
GROUNDS: tuple[Rgb, ...] = (
    *((240, 248, 255), (255, 250, 240), (245, 245, 220), (224, 240, 255), (230, 245, 225), (255, 228, 225)),
    *((135, 206, 235), (211, 211, 211), (25, 25, 60), (20, 50, 30), (60, 60, 60)),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing in a picture.

    Attributes:
        kind: one of `KINDS`.
        colour: one of `COLOURS`, as a person would call it.
        x: its middle (the middle of its bounding box), as a fraction of the picture's width.
        y: the same of the height, from the top.
        radius: half the longer side of its bounding box, as a fraction of the picture's shorter side.
        rgb: the colour, exactly.
        style: filled; filled with an edge of another tone; or hollow, only a stroke in its colour.
        edge: the colour of the edge; its own where it is hollow.
        stroke: width of the stroke, as a fraction of the radius.
        rotation: degrees, clockwise.
        stretch: width over height against the plain form, about 1.
        mirrored: left and right exchanged.
        form: three numbers in [0, 1) that say which of the many ways its kind is drawn.
    """

    kind: str
    colour: str
    x: float
    y: float
    radius: float
    rgb: Rgb
    style: Style = "filled"
    edge: Rgb = (0, 0, 0)
    stroke: float = 0.1
    rotation: float = 0.0
    stretch: float = 1.0
    mirrored: bool = False
    form: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def pair(self) -> tuple[str, str]:
        """(kind, colour)."""
        return (self.kind, self.colour)


@dataclass(frozen=True, slots=True)
class Scene:
    """Items on a plain ground.

    Attributes:
        items: no two boxes touch.
        width: of the picture, in the model's pixels; the longer side is `SIDE`.
        height: the same, downwards.
        ground: the colour behind.
        ground_end: a second one, that it becomes or is mixed with; None where it is all of one.
        texture: how the two are laid out.
    """

    items: tuple[Item, ...]
    width: int
    height: int
    ground: Rgb
    ground_end: Rgb | None = None
    texture: Texture = "plain"

    @property
    def grounds(self) -> tuple[Rgb, ...]:
        """The tones of the ground."""
        return (self.ground,) if self.ground_end is None else (self.ground, self.ground_end)

    def place(self, item: Item) -> tuple[float, float]:
        """The item's middle in the square that the model sees (the picture padded evenly), as fractions of its side."""
        return (
            0.5 + (item.x - 0.5) * self.width / SIDE,
            0.5 + (item.y - 0.5) * self.height / SIDE,
        )


def between(one: Rgb, other: Rgb) -> Rgb:
    """The tone in the middle of two."""
    return ((one[0] + other[0]) // 2, (one[1] + other[1]) // 2, (one[2] + other[2]) // 2)


def contrast(one: Rgb, other: Rgb) -> int:
    """How far apart two colours are: the sum over channels, 0 to 765."""
    return abs(one[0] - other[0]) + abs(one[1] - other[1]) + abs(one[2] - other[2])


def described_order(pair: tuple[str, str]) -> tuple[int, int]:
    """The key by which a description sorts (kind, colour) pairs: kinds as in `KINDS`, then colours."""
    return (KINDS.index(pair[0]), COLOUR_NAMES.index(pair[1]))


def random_scene(rng: random.Random, *, max_items: int = 4, split: Split = "train") -> Scene:
    """A new scene of one to `max_items` items.

    "train" and "new" never hold a pair of `HELD_OUT_PAIRS`; "held_out_pairs" holds at least one.
    """
    if not 1 <= max_items <= MOST_ITEMS:
        raise ValueError(f"max_items must be 1 to {MOST_ITEMS}, not {max_items}")
    width, height = _random_shape(rng)
    ground, end, texture = _random_grounds(rng)
    count = 1 + int(rng.random() * max_items)
    looks: list[Item] = []
    while len(looks) < count:
        wanted = rng.choice(sorted(HELD_OUT_PAIRS)) if split == "held_out_pairs" and not looks else None
        look = _random_look(rng, (ground, end), looks, wanted)
        if look is not None and (wanted is not None or split == "held_out_pairs" or look.pair not in HELD_OUT_PAIRS):
            looks.append(look)
        elif wanted is not None:
            ground, end, texture = _random_grounds(rng)
    rng.shuffle(looks)
    places = random_places(rng, count, width, height)
    shorter = min(width, height)
    items = tuple(
        replace(
            look,
            x=x / width,
            y=y / height,
            radius=radius / shorter,
            stroke=max(look.stroke, THINNEST[look.style] / radius),
        )
        for look, (x, y, radius) in zip(looks, places, strict=True)
    )
    return Scene(items, width, height, ground, end, texture)


def _random_shape(rng: random.Random) -> tuple[int, int]:
    """Two thirds square; else 1 : 1.2 to 1 : 2, lying or standing."""
    if rng.random() < 0.62:
        return SIDE, SIDE
    usual = rng.random() < 0.5
    shorter = round(SIDE / (rng.choice((4 / 3, 1.5, 1.25, 16 / 9)) if usual else rng.uniform(1.05, 2.0)))
    return (SIDE, shorter) if rng.random() < 0.7 else (shorter, SIDE)


def _random_grounds(rng: random.Random) -> tuple[Rgb, Rgb | None, Texture]:
    """Mostly one tone; else two, near each other or, as a sky has them, far apart."""
    ground = _random_ground(rng)
    lot = rng.random()
    if lot > 0.3:
        return ground, None, "plain"
    texture = rng.choice(TEXTURES)
    reach = 100 if lot < 0.06 and texture in ("down", "across", "round") else 14 if lot < 0.16 else 36
    return ground, near(rng, ground, reach), texture


def _random_ground(rng: random.Random) -> Rgb:
    lot = rng.random()
    if lot < 0.4:
        return (255, 255, 255)
    if lot < 0.48:
        return (0, 0, 0)
    if lot < 0.62:
        return rng.choice(GROUNDS)
    if lot < 0.82:
        return (rng.randrange(195, 256), rng.randrange(195, 256), rng.randrange(195, 256))
    if lot < 0.91:
        return (rng.randrange(0, 65), rng.randrange(0, 65), rng.randrange(0, 65))
    return near(rng, rng.choice(COLOURS[rng.choice(COLOUR_NAMES)]))


def near(rng: random.Random, rgb: Rgb, reach: int = 10) -> Rgb:
    """A colour within `reach` of `rgb` in each channel."""
    lot = rng.randrange
    red, green, blue = (min(255, max(0, channel + lot(-reach, reach + 1))) for channel in rgb)
    return (red, green, blue)


def _random_look(
    rng: random.Random, grounds: tuple[Rgb, Rgb | None], looks: list[Item], wanted: tuple[str, str] | None
) -> Item | None:
    """An item that has no place yet; None where its colour can not be seen on this ground."""
    twin = rng.choice(looks) if looks else None
    lot = rng.random()
    if twin is not None and lot < 0.1:  # one more of the very same
        return twin
    kind = twin.kind if twin is not None and lot < 0.38 else rng.choice(KINDS)
    colour = twin.colour if twin is not None and 0.3 <= lot < 0.56 else rng.choice(COLOUR_NAMES)
    if wanted is not None:
        kind, colour = wanted
    rgb = rng.choice(COLOURS[colour])
    if rng.random() < 0.7:
        rgb = near(rng, rgb)
    lot = rng.random()
    ground, end = grounds
    # Of the others, lines lie behind lines that only a plain ground can hide.
    hollow = 0.24 if kind in PLAIN_KINDS else 0.12 if end is None else 0.0
    style: Style = "hollow" if lot < hollow else "edged" if lot < 0.5 else "filled"
    least = LEAST_CONTRAST + (50 if style == "hollow" else 0) + (40 if sum(ground) < 250 else 0)
    if contrast(rgb, ground) < least:
        return None
    if end is not None and min(contrast(rgb, end), contrast(rgb, between(ground, end))) < least:
        return None
    return Item(
        kind=kind,
        colour=colour,
        x=0.5,
        y=0.5,
        radius=0.1,
        rgb=rgb,
        style=style,
        edge=rgb if style == "hollow" else _random_edge(rng, rgb, ground),
        stroke=0.03 * 8.5 ** rng.random() if style == "hollow" else rng.uniform(0.03, 0.17),
        rotation=_random_rotation(rng, kind),
        stretch=_random_stretch(rng, kind),
        mirrored=rng.random() < 0.5,
        form=(rng.random(), rng.random(), rng.random()),
    )


def _random_edge(rng: random.Random, rgb: Rgb, ground: Rgb) -> Rgb:
    lot = rng.random()
    if sum(ground) < 200 and lot < 0.4:
        return (255, 255, 255)
    if lot < 0.75:
        dark = rng.randrange(0, 45)
        return (dark, dark, dark)
    share = rng.uniform(0.4, 0.7)
    return (int(rgb[0] * share), int(rgb[1] * share), int(rgb[2] * share))


def _random_rotation(rng: random.Random, kind: str) -> float:
    lot = rng.random()
    if kind == "triangle" and lot < 0.3:
        return rng.choice((180.0, 90.0, 270.0, rng.uniform(0, 360)))
    if kind == "cross" and lot < 0.12:
        return 45.0
    if kind == "moon" and lot < 0.5:
        return rng.uniform(-50, 50)
    if lot < 0.6:
        return 0.0
    reach = 8.0 if kind in ("diamond", "house", "car", "cat") else 15.0
    return rng.uniform(-reach, reach)


def _random_stretch(rng: random.Random, kind: str) -> float:
    if rng.random() < 0.5:
        return 1.0
    reach = 1.06 if kind in ("circle", "square") else 1.18
    return math.exp(rng.uniform(-1, 1) * math.log(reach))
