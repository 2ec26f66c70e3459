"""Where things are in a scene, and which question about it has exactly one answer.

Distances are in the padded square that the model sees, so that a margin means as many pixels in any picture; bins and
regions divide the picture itself.
"""

from __future__ import annotations

import math

from training.embedded.picture_world.scenes import SIDE, Item, Scene

BINS = 12  # columns and rows of the picture
SIDES = ("left", "right", "above", "below")
RELATION_MARGIN = 0.08  # of the square's side: nearer than this, one is neither left nor right of the other
HALF_MARGIN = 0.07  # of the square's side: nearer than this to the middle line, an item is in neither half
SIZE_CLASSES = 10  # of radii, each about a fifth larger than the one before
REGION_MARGIN = 0.035  # of the square's side: nearer than this to a border of regions, an item is in neither


def bin_of(fraction: float) -> int:
    """Which of `BINS` equal parts of the picture's side a fraction of it falls into."""
    return min(BINS - 1, max(0, int(fraction * BINS)))


def nearest(scene: Scene, item: Item, side: str) -> Item | bool | None:
    """The nearest item on one side (one of `SIDES`) of another.

    None where nothing is there; False where it hangs on a near tie: something is neither clearly on that side nor
    clearly not, and could be the answer, or two are about equally near. Distances are in the padded square.
    """
    horizontal = side in ("left", "right")
    sign = -1.0 if side in ("left", "above") else 1.0
    x, y = scene.place(item)
    sure: list[tuple[float, Item]] = []
    doubtful: list[float] = []
    for other in scene.items:
        if other is item:
            continue
        a, b = scene.place(other)
        ahead = sign * ((a - x) if horizontal else (b - y))
        distance = ((a - x) ** 2 + (b - y) ** 2) ** 0.5
        if ahead >= RELATION_MARGIN:
            sure.append((distance, other))
        elif ahead > 0:
            doubtful.append(distance)
    sure.sort(key=lambda pair: pair[0])
    if not sure:
        return False if doubtful else None
    closest = sure[0][0]
    if len(sure) > 1 and sure[1][0] - closest < RELATION_MARGIN / 2:
        return False
    return False if any(distance < closest + RELATION_MARGIN / 2 for distance in doubtful) else sure[0][1]


def offset(scene: Scene, item: Item, other: Item, side: str) -> float:
    """How far `item` is on that side of `other`; negative on the opposite side."""
    x, y = scene.place(item)
    a, b = scene.place(other)
    return {"left": a - x, "right": x - a, "above": b - y, "below": y - b}[side]


def region(scene: Scene, item: Item) -> tuple[int, int] | None:
    """(column, row), 0 to 2 each, of the ninth of the picture that the item is in; None too near to a border."""
    margins = (REGION_MARGIN * SIDE / scene.width, REGION_MARGIN * SIDE / scene.height)
    thirds = []
    for fraction, margin in zip((item.x, item.y), margins, strict=True):
        if any(abs(fraction - border) < margin for border in (1 / 3, 2 / 3)):
            return None
        thirds.append(int(fraction * 3))
    return (thirds[0], thirds[1])


def from_edge(scene: Scene, item: Item, edge: str) -> float:
    """How far the item's middle is from an edge ("left", "right", "top", "bottom"), as a fraction of the picture."""
    return {"left": item.x, "right": 1 - item.x, "top": item.y, "bottom": 1 - item.y}[edge]


def in_half(scene: Scene, item: Item, edge: str) -> bool | None:
    """Whether it is in that half of the picture; None too near to the middle line."""
    away = 0.5 - from_edge(scene, item, edge)
    along = scene.width if edge in ("left", "right") else scene.height
    return None if abs(away) < HALF_MARGIN * SIDE / along else away > 0


def at_edge(scene: Scene, item: Item, edge: str) -> bool | None:
    """Whether it is on that side of the picture, as people say it: yes in the outer third, no from the middle on.

    None between these, where people would not agree.
    """
    away = from_edge(scene, item, edge)
    along = scene.width if edge in ("left", "right") else scene.height
    if away < 1 / 3 - REGION_MARGIN * SIDE / along:
        return True
    return False if away > 0.44 else None


def drawn_radius(scene: Scene, item: Item) -> float:
    """Half the longer side of its box, in the model's pixels."""
    return item.radius * min(scene.width, scene.height)


def size_class(scene: Scene, item: Item) -> int:
    """Which of `SIZE_CLASSES` its radius falls into, from 7 pixels in steps of a fifth."""
    steps = math.log(drawn_radius(scene, item) / (0.075 * SIDE)) / math.log(1.22)
    return min(SIZE_CLASSES - 1, max(0, int(steps)))


ALIKE = 1.05  # ratio of radii up to which two are the same size
COMPACT = frozenset(("circle", "square", "star", "heart", "cross"))  # about as wide as high: one radius, one size


def size_ratio(scene: Scene, one: int, other: int) -> float:
    """Radius of one item over that of another."""
    return scene.items[one].radius / scene.items[other].radius


def sure_size(scene: Scene, one: int, other: int) -> bool:
    """Whether all would agree which of two is bigger; of different kinds they must differ more."""
    ratio = size_ratio(scene, one, other)
    least = 1.3 if scene.items[one].kind == scene.items[other].kind else 1.5
    return not 1 / least < ratio < least
