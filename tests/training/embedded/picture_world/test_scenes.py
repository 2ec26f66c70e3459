"""What the world may contain, and where."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from training.embedded.picture_world.samples import SAMPLES
from training.embedded.picture_world.scenes import (
    COLOUR_NAMES,
    HELD_OUT_PAIRS,
    KINDS,
    SIDE,
    SMALLEST,
    Scene,
    Split,
    contrast,
    random_scene,
)

SEEDS = st.integers(0, 2**32)


def overlaps(scene: Scene) -> bool:
    """Whether two bounding boxes touch, or one leaves the picture; in the model's pixels."""
    shorter = min(scene.width, scene.height)
    boxes = [(item.x * scene.width, item.y * scene.height, item.radius * shorter) for item in scene.items]
    outside = any(x < r or y < r or x > scene.width - r or y > scene.height - r for x, y, r in boxes)
    pairs = [(a, b) for at, a in enumerate(boxes) for b in boxes[:at]]
    return outside or any(max(abs(a[0] - b[0]), abs(a[1] - b[1])) < a[2] + b[2] for a, b in pairs)


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(1, 8))
@example(517, 1)  # one item alone in the middle of a flat picture was once smaller than any may be
def test_items_stay_inside_apart_and_visible(seed: int, most: int) -> None:
    scene = random_scene(random.Random(seed), max_items=most)
    assert 1 <= len(scene.items) <= most
    assert max(scene.width, scene.height) == SIDE
    assert not overlaps(scene)
    for item in scene.items:
        assert item.radius * min(scene.width, scene.height) >= SMALLEST - 1e-6
        assert contrast(item.rgb, scene.ground) >= 110


@pytest.mark.parametrize("split", ["train", "new"])
def test_training_never_holds_a_held_out_pair(split: Split) -> None:
    rng = random.Random(0)
    for _ in range(1500):
        assert not {item.pair for item in random_scene(rng, split=split).items} & HELD_OUT_PAIRS


def test_held_out_scenes_all_hold_one_and_cover_every_pair() -> None:
    rng, seen = random.Random(0), set()
    for _ in range(400):
        held = {item.pair for item in random_scene(rng, split="held_out_pairs").items} & HELD_OUT_PAIRS
        assert held
        seen |= held
    assert seen == HELD_OUT_PAIRS
    assert len(HELD_OUT_PAIRS) == 12


def test_every_kind_and_colour_and_number_comes() -> None:
    rng = random.Random(0)
    scenes = [random_scene(rng) for _ in range(600)]
    assert {item.kind for scene in scenes for item in scene.items} == set(KINDS)
    assert {item.colour for scene in scenes for item in scene.items} == set(COLOUR_NAMES)
    assert {len(scene.items) for scene in scenes} == {1, 2, 3, 4}


def test_shapes_of_pictures_are_those_that_people_have() -> None:
    rng = random.Random(0)
    shapes = [(scene.width, scene.height) for scene in (random_scene(rng) for _ in range(1000))]
    square = sum(width == height for width, height in shapes) / len(shapes)
    assert 0.5 < square < 0.75
    assert any(height > width for width, height in shapes)
    assert max(max(shape) / min(shape) for shape in shapes) <= 2.05


def test_white_grounds_are_frequent() -> None:
    rng = random.Random(0)
    white = sum(random_scene(rng).ground == (255, 255, 255) for _ in range(1000))
    assert white >= 350


def test_same_seed_same_scene() -> None:
    assert random_scene(random.Random(7)) == random_scene(random.Random(7))


@pytest.mark.parametrize("most", [0, 9])
def test_refuses_impossible_numbers(most: int) -> None:
    with pytest.raises(ValueError, match="max_items"):
        random_scene(random.Random(0), max_items=most)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_proper_scenes_without_held_out_pairs(name: str) -> None:
    scene = SAMPLES[name][0]
    assert not overlaps(scene)
    assert not {item.pair for item in scene.items} & HELD_OUT_PAIRS
