"""Pixels against what the scene says, in both ways of drawing."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from training.embedded.picture_world.drawing import draw_large, draw_scene
from training.embedded.picture_world.foreign import draw_foreign
from training.embedded.picture_world.scenes import KINDS, SIDE, Item, Scene, Style

RED, WHITE = (255, 0, 0), (255, 255, 255)


def one(kind: str, style: Style = "filled", width: int = SIDE, height: int = SIDE) -> Scene:
    edge = RED if style == "hollow" else (0, 0, 0)
    item = Item(kind, "red", 0.4, 0.55, 0.3, RED, style, edge, stroke=0.03, form=(0.2, 0.3, 0.4))
    return Scene((item,), width, height, WHITE)


def inked(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where it is not ground."""
    return (np.abs(pixels.astype(int) - 255).sum(axis=2) > 60).astype(np.bool_)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("foreign", [False, True])
def test_item_fills_its_box_and_no_more(kind: str, foreign: bool) -> None:
    scene = one(kind)
    image = draw_foreign(scene, random.Random(0)) if foreign else draw_large(scene, 384)
    ink = inked(np.asarray(image))
    rows, columns = np.nonzero(ink)
    side = image.width
    left, right = columns.min() / side, (columns.max() + 1) / side
    top, bottom = rows.min() / side, (rows.max() + 1) / side
    tolerance = 0.012
    assert left >= 0.1 - tolerance and right <= 0.7 + tolerance
    assert top >= 0.25 - tolerance and bottom <= 0.85 + tolerance
    assert max(right - left, bottom - top) >= (0.5 if foreign else 0.6 - tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_filled_is_of_its_colour_and_hollow_shows_the_ground(kind: str) -> None:
    solid, hollow = (np.asarray(draw_large(one(kind, style), 192)) for style in ("filled", "hollow"))

    def pure(pixels: NDArray[np.uint8]) -> int:
        return int((pixels == RED).all(axis=2).sum())

    assert pure(solid) > 1.5 * pure(hollow) > 0


def test_a_lying_picture_stands_on_mid_grey_bars() -> None:
    scene = one("circle", width=96, height=48)
    rng = random.Random(3)
    for _ in range(20):  # whatever the lots
        pixels = np.asarray(draw_scene(scene, rng))
        assert pixels.shape == (SIDE, SIDE, 3)
        assert (pixels[:20] == 127).all() and (pixels[-20:] == 127).all()
        middle = pixels[24 + int(0.55 * 48), int(0.4 * 96)].astype(int)
        assert np.abs(middle - RED).sum() < 90


def test_positions_are_those_of_the_picture_not_of_the_padding() -> None:
    scene = one("square", width=48, height=96)
    pixels = np.asarray(draw_large(scene, 192))
    assert pixels.shape == (192, 96, 3)
    rows, columns = np.nonzero(inked(pixels))
    assert (columns.min() + columns.max() + 1) / 2 == pytest.approx(0.4 * 96, abs=1.5)
    assert (rows.min() + rows.max() + 1) / 2 == pytest.approx(0.55 * 192, abs=1.5)


def test_no_two_pictures_of_a_scene_need_be_alike() -> None:
    rng = random.Random(0)
    assert len({draw_scene(one("star"), rng).tobytes() for _ in range(30)}) > 5


def test_mirroring_mirrors() -> None:
    scene = one("fish")
    item = replace(scene.items[0], x=0.5, y=0.5)
    there = np.asarray(draw_large(replace(scene, items=(item,)), 192))
    back = np.asarray(draw_large(replace(scene, items=(replace(item, mirrored=True),)), 192))
    assert np.mean(there != back[:, ::-1]) < 0.01
    assert np.mean(there != back) > 0.01
