"""Patch labels of scenes small enough to work out by hand."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.embedded.picture_world.labels import LABELS, NO_NEIGHBOUR, NOTHING, labelled_pictures, patch_labels
from training.embedded.picture_world.scenes import COLOUR_NAMES, KINDS, Item, Scene, random_scene

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def test_two_items_in_a_square() -> None:
    """A red circle at the upper left, a blue star at the lower right, by hand."""
    scene = Scene((Item("star", "blue", 0.8, 0.8, 0.1, BLUE), Item("circle", "red", 0.3, 0.3, 0.2, RED)), 96, 96, WHITE)
    labels = patch_labels(scene)
    circle, star = 2 * 8 + 2, 6 * 8 + 6  # 0.3 * 8 = 2.4, 0.8 * 8 = 6.4
    expected = {
        "kind": (KINDS.index("circle"), KINDS.index("star")),
        "colour": (COLOUR_NAMES.index("red"), COLOUR_NAMES.index("blue")),
        "middle": (1, 1),
        "column": (3, 9),  # 0.3 * 12 = 3.6, 0.8 * 12 = 9.6
        "row": (3, 9),
        "same_kind": (0, 0),
        "same_pair": (0, 0),
        "rank": (0, 1),
        "all": (1, 1),
        "left_kind": (NO_NEIGHBOUR, KINDS.index("circle")),
        "right_colour": (COLOUR_NAMES.index("blue"), len(COLOUR_NAMES)),
        "above_colour": (len(COLOUR_NAMES), COLOUR_NAMES.index("red")),
        "below_kind": (KINDS.index("star"), NO_NEIGHBOUR),
    }
    for name, (at_circle, at_star) in expected.items():
        assert (labels[name][circle], labels[name][star]) == (at_circle, at_star), name
    assert labels["kind"][7] == NOTHING  # upper right corner
    assert labels["colour"][7] == -1
    assert labels["kind"][0 * 8 + 1] == -1  # the circle's box reaches in, its .9 disc does not hold the patch's middle
    assert (labels["middle"] == 1).sum() == 2


def test_sizes_styles_and_grounds_by_hand() -> None:
    """A small hollow star, a middle one, a large circle; the two circles' radii are too near to compare."""
    items = (
        Item("star", "blue", 0.1, 0.1, 0.1, BLUE, "hollow", BLUE),
        Item("star", "blue", 0.4, 0.4, 0.15, BLUE),
        Item("circle", "red", 0.8, 0.8, 0.3, RED, "edged"),
    )
    at = [0 * 8 + 0, 3 * 8 + 3, 6 * 8 + 6]
    labels = patch_labels(Scene(items, 96, 96, WHITE))

    def told(name: str) -> list[int]:
        return [int(labels[name][patch]) for patch in at]

    assert told("hollow") == [1, 0, 0]
    assert told("size") == [1, 3, 6]  # radii of 9.6, 14.4 and 28.8: steps of 1.22 from 7.2
    assert told("bigger_than") == [0, 1, 2]
    assert told("largest") == [0, 0, 1]
    assert told("smallest") == [1, 0, 0]
    assert told("ground") == [COLOUR_NAMES.index("white")] * 3
    near = (*items[:2], Item("circle", "red", 0.8, 0.8, 0.17, RED))
    unclear = patch_labels(Scene(near, 96, 96, (200, 230, 210)))
    assert [int(unclear[name][at[2]]) for name in ("bigger_than", "largest", "ground")] == [-1, -1, -1]
    alone = patch_labels(Scene(items[:1], 96, 96, (3, 3, 3)))
    assert [int(alone[name][0]) for name in ("bigger_than", "largest", "smallest")] == [0, -1, -1]
    assert int(alone["ground"][0]) == COLOUR_NAMES.index("black")


def test_alike_share_counts_and_rank() -> None:
    items = tuple(Item("cat", "red", x, 0.5, 0.1, RED) for x in (0.2, 0.5, 0.8))
    labels = patch_labels(Scene((*items[:2], Item("cat", "blue", 0.8, 0.5, 0.1, BLUE)), 96, 96, WHITE))
    at = [4 * 8 + column for column in (1, 4, 6)]
    assert [labels["same_kind"][patch] for patch in at] == [2, 2, 2]
    assert [labels["same_colour"][patch] for patch in at] == [1, 1, 0]
    assert [labels["same_pair"][patch] for patch in at] == [1, 1, 0]
    assert [labels["rank"][patch] for patch in at] == [0, 0, 1]


def test_in_a_lying_picture_patches_are_the_squares_and_bins_the_pictures() -> None:
    labels = patch_labels(Scene((Item("cat", "red", 0.1, 0.1, 0.2, RED),), 96, 48, WHITE))
    patch = int((0.5 + (0.1 - 0.5) * 0.5) * 8) * 8 + int(0.1 * 8)
    assert labels["middle"][patch] == 1
    assert (labels["column"][patch], labels["row"][patch]) == (1, 1)
    assert (labels["kind"][:8] == NOTHING).all()  # the padding


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_every_item_has_one_middle_patch_and_classes_are_in_range(seed: int) -> None:
    scene = random_scene(random.Random(seed), max_items=6)
    labels = patch_labels(scene)
    assert set(labels) == set(LABELS)
    middles = {int(y * 8) * 8 + int(x * 8) for x, y in map(scene.place, scene.items)}
    assert (labels["middle"] == 1).sum() == len(middles)
    for name, values in labels.items():
        assert values.shape == (64,)
        assert values.min() >= -1 and values.max() < LABELS[name][0]


def test_labelled_pictures_are_those_of_the_scenes() -> None:
    pixels, labels = labelled_pictures(random.Random(5), 6, 3)
    assert pixels.shape == (6, 96, 96, 3) and pixels.dtype == np.uint8
    assert all(values.shape == (6, 64) and values.dtype == np.int64 for values in labels.values())
    first = patch_labels(random_scene(random.Random(5), max_items=3))
    assert all((labels[name][0] == first[name]).all() for name in labels)
