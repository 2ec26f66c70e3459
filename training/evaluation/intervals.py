"""How far a figure can be trusted: Wilson's interval, bootstraps (of pictures where questions share one), McNemar.

numpy is imported by what draws: most sets' scores need none, and come sooner without it.

Sources: Wilson 1927; Efron 1979 (percentile bootstrap); McNemar 1947, in its exact binomial form.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

Z95 = 1.959963984540054  # the normal distribution's 97.5th percentile
DRAWS = 10_000
_AT_ONCE = 2_000_000  # numbers that are drawn in one array


class Interval(NamedTuple):
    """From `low` to `high`, in the unit of what it is of."""

    low: float
    high: float


def wilson(right: int, of: int) -> Interval:
    """95 % interval of a share of `of` yes-or-no questions, in per cent; 0 to 100 where there are none."""
    if not of:
        return Interval(0.0, 100.0)
    p, z2 = right / of, Z95**2
    centre = (p + z2 / (2 * of)) / (1 + z2 / of)
    half = Z95 / (1 + z2 / of) * math.sqrt(p * (1 - p) / of + z2 / (4 * of**2))
    return Interval(100 * max(0.0, centre - half), 100 * min(1.0, centre + half))


def bootstrap(values: Sequence[float], clusters: Sequence[str] | None = None, seed: int = 0) -> Interval:
    """95 % percentile interval of a mean, by 10,000 draws with replacement.

    Args:
        values: one for each question.
        clusters: what each question shares with others, its picture: those are drawn, with all of their questions.
        seed: the same seed, the same interval.
    """
    return _middle(_means(values, clusters, seed)) if values else Interval(0.0, 0.0)


def bootstrap_sum(parts: Sequence[tuple[float, Sequence[float], Sequence[str]]]) -> Interval:
    """95 % percentile interval of a weighted sum of means; as `bootstrap`.

    Parts about the same pictures are drawn together, for what is hard in one may be so in another; others apart.

    Args:
        parts: a weight, the values of questions, and what each of those shares with others.
    """
    drawn = [weight * _means(values, of, _seed(of)) for weight, values, of in parts if values]
    return _middle(sum(drawn[1:], drawn[0])) if drawn else Interval(0.0, 0.0)


def _seed(clusters: Sequence[str]) -> int:
    return zlib.crc32("\n".join(sorted(set(clusters))).encode("utf-8", "surrogatepass"))


def _means(values: Sequence[float], clusters: Sequence[str] | None, seed: int) -> np.ndarray:
    import numpy as np

    sums, sizes = _clustered(values, clusters)
    generator = np.random.default_rng(seed)
    means = []
    step = max(1, _AT_ONCE // len(sums))
    for start in range(0, DRAWS, step):
        drawn = generator.integers(0, len(sums), (min(step, DRAWS - start), len(sums)))
        means.append(sums[drawn].sum(1) / sizes[drawn].sum(1))
    return np.concatenate(means)


def _middle(drawn: np.ndarray) -> Interval:
    import numpy as np

    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(low), float(high))


def bootstrap_ratio(
    below: Sequence[float], above: Sequence[float], clusters: Sequence[str] | None = None, seed: int = 0
) -> Interval:
    """95 % percentile interval of the ratio of two means over the same questions, in per cent; as `bootstrap`.

    Args:
        below, above: one for each question; the ratio is above over below.
        clusters: what each question shares with others.
        seed: the same seed, the same interval.
    """
    import numpy as np

    if not below:
        return Interval(0.0, 0.0)
    under, _ = _clustered(below, clusters)
    over, _ = _clustered(above, clusters)
    generator = np.random.default_rng(seed)
    ratios = []
    step = max(1, _AT_ONCE // len(under))
    for start in range(0, DRAWS, step):
        drawn = generator.integers(0, len(under), (min(step, DRAWS - start), len(under)))
        with np.errstate(divide="ignore", invalid="ignore"):  # a draw of zeros alone is of nothing
            ratios.append(over[drawn].sum(1) / under[drawn].sum(1))
    drawn_ratios = np.concatenate(ratios)
    low, high = np.percentile(drawn_ratios[np.isfinite(drawn_ratios)], [2.5, 97.5])
    return Interval(100 * float(low), 100 * float(high))


def _clustered(values: Sequence[float], clusters: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    if clusters is None:
        return np.asarray(values, dtype=float), np.ones(len(values))
    _, places = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    return np.bincount(places, weights=np.asarray(values, dtype=float)), np.bincount(places).astype(float)


@dataclass(frozen=True)
class Paired:
    """Two runs over the same questions, each right or wrong.

    Attributes:
        only_a, only_b: questions that one of them alone got right.
        p: of so uneven a split or a worse one, if both were as good; two-sided.
        difference: of their means, B's minus A's, in per cent points.
        interval: 95 % of the difference, by bootstrap.
    """

    only_a: int
    only_b: int
    p: float
    difference: float
    interval: Interval


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact two-sided p of McNemar's test: a fair coin's, for so uneven a split."""
    n, least = only_a + only_b, min(only_a, only_b)
    if not n:
        return 1.0
    # Summed as whole numbers, so that a split of thousands is exact too.
    tail = sum(math.comb(n, k) for k in range(least + 1))
    return min(1.0, float(2 * tail / 2**n))


def paired(a: Sequence[float], b: Sequence[float], clusters: Sequence[str] | None = None, seed: int = 0) -> Paired:
    """Compare two runs, question by question.

    Args:
        a, b: scores 0 to 1 of the same questions in the same order.
        clusters: the picture of each question, where several share one.
        seed: of the bootstrap.
    """
    only_a = sum(one > other for one, other in zip(a, b, strict=True))
    only_b = sum(other > one for one, other in zip(a, b, strict=True))
    differences = [100 * (other - one) for one, other in zip(a, b, strict=True)]
    mean = sum(differences) / len(differences) if differences else 0.0
    return Paired(only_a, only_b, mcnemar(only_a, only_b), mean, bootstrap(differences, clusters, seed))
