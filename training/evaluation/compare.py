"""Two answer files and one truth: what one got right and the other did not, and whether that can be chance.

Rows are paired by id; the test is McNemar's exact one where every row is right or wrong, and a bootstrap of the
difference, of pictures where questions share one, in any case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llava_engine.errors import DataError
from training.evaluation.intervals import Paired, paired
from training.evaluation.result import Result, Scored

SHOWN = 10


@dataclass(frozen=True)
class Comparison:
    """A and B on the same questions.

    Attributes:
        a, b: the two results.
        both: questions that both got right.
        neither: that none did.
        paired: the rest, and the test.
        changed: rows with another score, as (A's, B's), the largest change first.
    """

    a: Result
    b: Result
    both: int
    neither: int
    paired: Paired
    changed: tuple[tuple[Scored, Scored], ...]

    @property
    def graded(self) -> bool:
        """Whether rows have scores between right and wrong, so that McNemar's test says nothing."""
        return any(row.score not in (0, 1) for row in (*self.a.rows, *self.b.rows))

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "set": self.a.set,
            "rule": self.a.rule,
            "questions": len(self.a.rows),
            "a": self.a.figures[0].value,
            "b": self.b.figures[0].value,
            "both": self.both,
            "neither": self.neither,
            "only_a": self.paired.only_a,
            "only_b": self.paired.only_b,
            "mcnemar_exact_p": None if self.graded else self.paired.p,
            "difference": self.paired.difference,
            "interval95": list(self.paired.interval),
            "changed": [
                {"id": one.id, "a": one.said, "b": other.said, "truth": one.truth} for one, other in self.changed
            ],
        }

    @property
    def summary(self) -> tuple[str, ...]:
        """Who was better, by how much, and whether that may be chance."""
        low, high = self.paired.interval
        lines = [
            f"{self.a.set}, rule {self.a.rule}, {len(self.a.rows):,} questions: {self.a.figures[0].name}",
            f"A {_percent(self.a)} · B {_percent(self.b)}",
            f"mean score of a question, B - A: {self.paired.difference:+.2f} ({low:+.2f} to {high:+.2f})",
            f"both right {self.both:,} · only A {self.paired.only_a:,} · only B {self.paired.only_b:,} · "
            f"neither {self.neither:,}",
        ]
        if not self.graded:
            lines.append(f"McNemar, exact: p = {self.paired.p:.3g}{'' if self.paired.p < 0.05 else ', may be chance'}")
        return tuple(lines)

    def as_text(self) -> str:
        """For a terminal: the summary, and the rows that changed most."""
        lines = list(self.summary)
        lines += [f"  {one.id}: {one.truth} | A {one.said!r} | B {other.said!r}" for one, other in self.changed[:SHOWN]]
        rest = len(self.changed) - SHOWN
        return "\n".join([*lines, *([f"  and {rest:,} more that changed"] if rest > 0 else [])])


def compare(a: Result, b: Result) -> Comparison:
    """Pair two results of one set.

    Raises:
        DataError: they are not of the same set, rule and questions.
    """
    ours, theirs = {row.id: row for row in a.rows}, {row.id: row for row in b.rows}
    if (a.set, a.rule) != (b.set, b.rule) or ours.keys() != theirs.keys() or not ours:
        raise DataError("The two are not of the same questions.", "Compare answers to one file of questions.")
    pairs = [(ours[of], theirs[of]) for of in ours]
    clusters = [one.cluster or one.id for one, _ in pairs]
    found = paired(
        [one.score for one, _ in pairs],
        [other.score for _, other in pairs],
        clusters if len(set(clusters)) < len(clusters) else None,
    )
    changed = sorted(
        (pair for pair in pairs if pair[0].score != pair[1].score), key=lambda pair: pair[1].score - pair[0].score
    )
    both = sum(one.score == other.score == 1 for one, other in pairs)
    neither = sum(one.score == other.score == 0 for one, other in pairs)
    return Comparison(a, b, both, neither, found, tuple(changed))


def _percent(result: Result) -> str:
    value = result.figures[0].value
    return "-" if value is None else f"{value:.2f}"
