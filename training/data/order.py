"""The order of rows: every row once, then all again in another order; the seed and the step decide it wholly."""

from __future__ import annotations

import random
from array import array
from functools import lru_cache


def rows_of_step(step: int, size: int, count: int, seed: int) -> list[int]:
    """Which rows a step reads; a batch may reach into the next epoch.

    Args:
        step: from 0.
        size: rows a step.
        count: rows in all.
        seed: of the orders.
    """
    places = range(step * size, (step + 1) * size)
    return [_permutation(count, seed, place // count)[place % count] for place in places]


@lru_cache(maxsize=2)  # an epoch's, and where a batch reaches into it the next one's
def _permutation(count: int, seed: int, epoch: int) -> array[int]:
    order = array("L", range(count))
    random.Random(seed << 32 | epoch).shuffle(order)
    return order
