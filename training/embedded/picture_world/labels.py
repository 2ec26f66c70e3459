"""What is true at each patch of a drawn picture: free, exact labels for the vision tower's first stage.

In: scenes. Out: integer arrays, -1 where nothing is asked. Knows no torch and no model.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from training.embedded.picture_world.drawing import draw_scene
from training.embedded.picture_world.grounds import ground_name
from training.embedded.picture_world.places import (
    ALIKE,
    BINS,
    SIDES,
    SIZE_CLASSES,
    bin_of,
    nearest,
    size_class,
    size_ratio,
    sure_size,
)
from training.embedded.picture_world.scenes import (
    COLOUR_NAMES,
    KINDS,
    MOST_ITEMS,
    SIDE,
    Item,
    Scene,
    Split,
    described_order,
    random_scene,
)

NOTHING = len(KINDS)  # the class of `kind` at a patch where the ground or the padding lies open
NO_NEIGHBOUR = len(KINDS)

LABELS: dict[str, tuple[int, float]] = {
    "kind": (len(KINDS) + 1, 1.0),
    "colour": (len(COLOUR_NAMES), 1.0),
    "middle": (2, 0.5),
    "column": (BINS, 0.5),
    "row": (BINS, 0.5),
    "same_kind": (MOST_ITEMS, 0.4),
    "same_colour": (MOST_ITEMS, 0.4),
    "same_pair": (MOST_ITEMS, 0.4),
    "rank": (MOST_ITEMS, 0.4),
    "all": (MOST_ITEMS, 0.3),
    **{f"{side}_{what}": (size, 0.07) for side in SIDES for what, size in
       (("kind", len(KINDS) + 1), ("colour", len(COLOUR_NAMES) + 1))},
    "hollow": (2, 0.4),
    "size": (SIZE_CLASSES, 0.4),
    "bigger_than": (MOST_ITEMS, 0.3),
    "largest": (2, 0.2),
    "smallest": (2, 0.2),
    "ground": (len(COLOUR_NAMES), 0.2),
}  # fmt: skip
_NAMES = tuple(LABELS)


def patch_labels(scene: Scene, grid: int = 8) -> dict[str, NDArray[np.int64]]:
    """Labels of each patch of the padded square, read row by row.

    Args:
        scene: what was drawn.
        grid: patches along a side.

    Returns:
        name -> (grid * grid,) int64, for each name of `LABELS`; -1 where there is no label.

        A patch is an *item's* when its middle lies within .9 of the item's radius, or the item's middle lies in it (the
        latter is its *middle patch*, there is exactly one for each item). A patch is *empty* when no item's disc
        touches it. At all others every label is -1.

        - kind: index in `KINDS` at an item's patch, `NOTHING` at an empty one.
        - colour: index in `COLOUR_NAMES`, at an item's patches, as everything below.
        - middle: 1 at the middle patch, 0 at the item's others.
        - column, row: where the item's middle is, in `BINS` parts of the picture's width and height.
        - same_kind, same_colour, same_pair, all: how many items of its kind, colour, both, and in all; less one.
        - rank: its pair's place in the description (`described_order`; two red circles share a place), from 0.
        - left_kind, left_colour, right_…, above_…, below_…: the nearest item on that side (`nearest`); the last class
          where nothing is there; -1 at near ties.
        - hollow: 1 where only its outline is drawn, 0 where it is filled.
        - size: class of its radius (`size_class`).
        - bigger_than: how many of the others are clearly smaller; -1 where one is neither clearly smaller nor clearly
          bigger nor of the same size.
        - largest, smallest: whether it is so, clearly; -1 where that is not clear, and where it is alone.
        - ground: index in `COLOUR_NAMES` of what the ground would be called (`ground_name`); -1 where none.
    """
    table = np.full((len(_NAMES), grid * grid), -1, np.int64)
    _fill(scene, grid, table)
    return dict(zip(_NAMES, table, strict=True))


def labelled_pictures(
    rng: random.Random, n: int, max_items: int = 4, *, split: Split = "train", grid: int = 8
) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int64]]]:
    """`n` new pictures (n, SIDE, SIDE, 3) uint8 and their labels, name -> (n, grid * grid) as in `patch_labels`."""
    pixels = np.empty((n, SIDE, SIDE, 3), np.uint8)
    table = np.full((len(_NAMES), n, grid * grid), -1, np.int64)
    for index in range(n):
        scene = random_scene(rng, max_items=max_items, split=split)
        pixels[index] = np.asarray(draw_scene(scene, rng))
        _fill(scene, grid, table[:, index])
    return pixels, dict(zip(_NAMES, table, strict=True))


def _fill(scene: Scene, grid: int, table: NDArray[np.int64]) -> None:
    """Write a scene's labels into `table` (labels, grid * grid), which holds -1."""
    touched = [False] * (grid * grid)
    pairs = sorted({item.pair for item in scene.items}, key=described_order)
    step = 1.0 / grid
    claims: list[tuple[int, list[int], list[int]]] = []
    for item in scene.items:
        x, y = scene.place(item)
        radius = item.radius * min(scene.width, scene.height) / SIDE
        middle = min(grid - 1, int(y * grid)) * grid + min(grid - 1, int(x * grid))
        mine = []
        first_row, last_row = int(max(0.0, y - radius) * grid), min(grid - 1, int((y + radius) * grid))
        first_column, last_column = int(max(0.0, x - radius) * grid), min(grid - 1, int((x + radius) * grid))
        for row in range(first_row, last_row + 1):
            for column in range(first_column, last_column + 1):
                patch = row * grid + column
                touched[patch] = True
                across, down = (column + 0.5) * step - x, (row + 0.5) * step - y
                if across * across + down * down < (0.9 * radius) ** 2 and patch != middle:
                    mine.append(patch)
        claims.append((middle, mine, _values(scene, item, pairs)))
    for _, mine, values in claims:
        for patch in mine:
            table[:, patch] = values
            table[2, patch] = 0
    for middle, _, values in claims:  # last: a middle patch belongs to its own item
        table[:, middle] = values
    table[0, [patch for patch, hit in enumerate(touched) if not hit]] = NOTHING


def _values(scene: Scene, item: Item, pairs: list[tuple[str, str]]) -> list[int]:
    """One item's labels in the order of `LABELS`, as at its middle patch."""
    items = scene.items
    values = [
        KINDS.index(item.kind),
        COLOUR_NAMES.index(item.colour),
        1,
        bin_of(item.x),
        bin_of(item.y),
        sum(other.kind == item.kind for other in items) - 1,
        sum(other.colour == item.colour for other in items) - 1,
        sum(other.pair == item.pair for other in items) - 1,
        pairs.index(item.pair),
        len(items) - 1,
    ]
    for side in SIDES:
        other = nearest(scene, item, side)
        if isinstance(other, Item):
            values += [KINDS.index(other.kind), COLOUR_NAMES.index(other.colour)]
        else:
            values += [-1, -1] if other is False else [NO_NEIGHBOUR, len(COLOUR_NAMES)]
    said = ground_name(scene)
    ground = -1 if said is None else COLOUR_NAMES.index(said)
    return [*values, int(item.style == "hollow"), size_class(scene, item), *_sizes(scene, item), ground]


def _sizes(scene: Scene, item: Item) -> tuple[int, int, int]:
    """(bigger_than, largest, smallest) of an item."""
    mine = next(index for index, other in enumerate(scene.items) if other is item)
    others = [index for index in range(len(scene.items)) if index != mine]
    sure = [sure_size(scene, mine, other) for other in others]
    ratios = [size_ratio(scene, mine, other) for other in others]
    clear = all(known or 1 / ALIKE < ratio < ALIKE for known, ratio in zip(sure, ratios, strict=True))
    below = sum(known and ratio > 1 for known, ratio in zip(sure, ratios, strict=True))
    if not others:
        return 0, -1, -1
    return (
        below if clear else -1,
        1 if all(sure) and min(ratios) > 1 else 0 if _sure_any(sure, ratios, below=True) else -1,
        1 if all(sure) and max(ratios) < 1 else 0 if _sure_any(sure, ratios, below=False) else -1,
    )


def _sure_any(sure: list[bool], ratios: list[float], *, below: bool) -> bool:
    """Whether some other is clearly bigger (`below`) or clearly smaller."""
    return any(known and (ratio < 1) == below for known, ratio in zip(sure, ratios, strict=True))
