"""What a scorer finds: rows that are right or wrong, figures, and what was missing. Plain data, no printing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from training.evaluation.answers import Coverage


@dataclass(frozen=True)
class Scored:
    """One question.

    Attributes:
        id: of the question.
        score: 0 to 1.
        truth: what is right, as text.
        said: the answer as it is; None where there is none.
        read: what the rule read in it; None where it read nothing.
        cluster: what it shares with others, its picture; "" where that is not known.
        question: what was asked, where the files say it.
    """

    id: str
    score: float
    truth: str = ""
    said: str | None = None
    read: str | None = None
    cluster: str = ""
    question: str = ""


@dataclass(frozen=True)
class Figure:
    """A number of a table: in per cent, or in points where its set counts so.

    Attributes:
        name: what of.
        value: the number; None where it is of nothing.
        of: how many questions it is of; None where it is no share of questions.
        right: how many of them were right, where each is right or wrong.
        rows: those questions, for an interval; () where it is no mean of theirs.
        parts: figures of which it is a weighted sum, each with its weight, where it is one.
    """

    name: str
    value: float | None
    of: int | None = None
    right: float | None = None
    rows: tuple[Scored, ...] = field(default=(), repr=False)
    parts: tuple[tuple[float, Figure], ...] = field(default=(), repr=False)

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """95 %, in per cent: Wilson's for right or wrong, else a bootstrap; of pictures where questions share one."""
        from training.evaluation.intervals import bootstrap, bootstrap_sum, wilson

        if self.parts:
            return bootstrap_sum([(weight, part._scores, part._clusters) for weight, part in self.parts])
        if not self.rows:
            return None
        clusters = self._clusters
        pictures = len(set(clusters))
        shared = pictures < len(clusters)
        right = sum(row.score == 1 for row in self.rows)
        if all(row.score in (0, 1) for row in self.rows):
            if not shared:
                return wilson(right, len(self.rows))
            if right in (0, len(self.rows)):  # every draw would be the same, as if there were no doubt
                return wilson(pictures if right else 0, pictures)
        return bootstrap(self._scores, clusters if shared else None)

    @property
    def _scores(self) -> list[float]:
        return [100 * row.score for row in self.rows]

    @property
    def _clusters(self) -> list[str]:
        return [row.cluster or row.id for row in self.rows]

    def as_json(self) -> dict[str, Any]:
        """Plain data, with the interval."""
        found = self.interval
        return {
            "name": self.name,
            "value": self.value,
            "of": self.of,
            "right": self.right,
            "interval95": list(found) if found else None,
        }


@dataclass(frozen=True)
class Result:
    """A score.

    Attributes:
        set: "pope", "mme", …
        rule: by which it was scored.
        coverage: what was answered.
        figures: the table, the most telling first.
        rows: each question.
        unread: ids of answers in which the rule read nothing; they count as wrong.
        details: all that the set's own tools print, as plain data.
        left_out: ids that could not be judged; the figures are of the others.
    """

    set: str
    rule: str
    coverage: Coverage
    figures: tuple[Figure, ...]
    rows: tuple[Scored, ...] = ()
    unread: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data for a file."""
        return {
            "set": self.set,
            "rule": self.rule,
            **self.coverage.as_json(),
            "unread": list(self.unread),
            "figures": [figure.as_json() for figure in self.figures],
            **self.details,
        }


def share(name: str, rows: Iterable[Scored]) -> Figure:
    """The mean score of some rows, in per cent."""
    listed = tuple(rows)
    right = sum(row.score for row in listed)
    return Figure(name, 100 * right / len(listed) if listed else None, len(listed), right, listed)


def f1(name: str, rows: Iterable[tuple[Scored, bool, bool]], of: int | None = None) -> Figure:
    """F1 of finding something, in per cent; None where there was nothing to find and nothing was found.

    Written as a mean, so that it has an interval as all means: what was found and is there counts twice and is right,
    what is only found or only there counts once and is wrong.

    Args:
        name: of the figure.
        rows: questions; whether it was found, and whether it is there.
        of: how many questions.
    """
    counted: list[Scored] = []
    for row, found, there in rows:
        if found or there:
            one = replace(row, score=float(found and there), cluster=row.cluster or row.id)
            counted += [one, one] if found and there else [one]
    right = sum(row.score for row in counted)
    return Figure(name, 100 * right / len(counted) if counted else None, of, rows=tuple(counted))
