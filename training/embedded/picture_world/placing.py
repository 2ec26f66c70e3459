"""Places for items that do not touch: scattered, alone in the middle, or in a row. In the model's pixels."""

from __future__ import annotations

import math
import random

SIDE = 96  # the model sees a square of this many pixels
SMALLEST = 0.075 * SIDE  # radius in the model's pixels
GAP = 1.5  # between the boxes of two items, in the model's pixels


def random_places(rng: random.Random, count: int, width: int, height: int) -> list[tuple[float, float, float]]:
    """(x, y, radius) of `count` boxes that do not touch, in the model's pixels."""
    largest = 0.46 * min(width, height)
    if count > 1:
        largest = min(largest, (0.36, 0.31, 0.27, 0.24, 0.21, 0.19, 0.18)[count - 2] * math.sqrt(width * height))
    lot = rng.random()
    if count == 1 and lot < 0.3:
        shift = 0.03 * SIDE
        radius = rng.uniform(max(0.3 * largest, SMALLEST), 0.95 * largest)
        return [(width / 2 + rng.uniform(-shift, shift), height / 2 + rng.uniform(-shift, shift), radius)]
    if count > 1 and lot < 0.2:
        row = _random_row(rng, count, width, height)
        if row:
            return row
    spread = math.log(max(largest, SMALLEST) / SMALLEST)
    while True:
        alike = rng.random() < 0.25
        radii = sorted((SMALLEST * math.exp(rng.random() ** 0.75 * spread) for _ in range(count)), reverse=True)
        if alike:
            radii = [radii[count // 2]] * count
        placed: list[tuple[float, float, float]] = []
        for radius in radii:
            reach = radius + 1.0
            for _ in range(30):
                x = reach + rng.random() * (width - 2 * reach)
                y = reach + rng.random() * (height - 2 * reach)
                if all(max(abs(x - a), abs(y - b)) >= radius + c + GAP for a, b, c in placed):
                    placed.append((x, y, radius))
                    break
            else:
                break
        if len(placed) == count:
            return placed
        spread *= 0.85


def _random_row(rng: random.Random, count: int, width: int, height: int) -> list[tuple[float, float, float]]:
    """Side by side, evenly, as people like to arrange; empty where they would be too small."""
    lying = rng.random() < (0.75 if width >= height else 0.25)
    along, across = (width, height) if lying else (height, width)
    step = along / count
    most = min(step / 2 - GAP, across / 2 - 1.0)
    if most <= SMALLEST:
        return []
    radius = rng.uniform(max(SMALLEST, 0.5 * most), most)
    level = across / 2 + rng.uniform(-1, 1) * rng.choice((0.0, 1.0)) * (across / 2 - radius - 1.0)
    places = [((index + 0.5) * step, level) for index in range(count)]
    return [(a, b, radius) if lying else (b, a, radius) for a, b in places]
