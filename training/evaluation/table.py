"""The figures of an evaluation: right answers by family and column, as data, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

FOLLOW_UPS = "follow-ups"


@dataclass(frozen=True)
class Score:
    """How many of how many were right."""

    right: int
    asked: int

    @property
    def percent(self) -> float:
        """0 to 100; 0 where nothing was asked."""
        return 100 * self.right / self.asked if self.asked else 0.0


@dataclass(frozen=True)
class Mistake:
    """One wrong answer, to look at."""

    column: str
    family: str
    question: str
    right: str
    said: str


@dataclass(frozen=True)
class Table:
    """Accuracy by family and column.

    Attributes:
        scores: column -> family -> score.
        apart: families that need no picture; they are shown, and not counted in "all".
        mistakes: the first few wrong answers of each column and family.
        about: what was measured: model, number of pictures, seed, …
    """

    scores: dict[str, dict[str, Score]]
    apart: frozenset[str] = frozenset()
    mistakes: tuple[Mistake, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def families(self) -> list[str]:
        """Every family that was asked, in the order of the column that has most; follow-ups in one row."""
        columns = sorted(self.scores.values(), key=len, reverse=True)
        named = dict.fromkeys(family for column in columns for family in column)
        return list(dict.fromkeys(FOLLOW_UPS if family.startswith("follow_") else family for family in named))

    def score(self, column: str, family: str) -> Score:
        """One cell of the Markdown table."""
        held = self.scores[column]
        if family == FOLLOW_UPS:
            return _sum(score for name, score in held.items() if name.startswith("follow_"))
        return held.get(family, Score(0, 0))

    def total(self, column: str) -> Score:
        """All of a column, without the families that need no picture."""
        return _sum(score for family, score in self.scores[column].items() if family not in self.apart)

    def markdown(self) -> str:
        """A table in per cent; a dash where nothing was asked."""
        columns = list(self.scores)
        lines = [
            "| family | " + " | ".join(columns) + " | questions |",
            "|---|" + "---|" * (len(columns) + 1),
        ]
        for family in sorted(self.families, key=lambda name: name in self.apart):
            cells = [_cell(self.score(column, family)) for column in columns]
            asked = sum(self.score(column, family).asked for column in columns)
            name = family.replace("_", " ") + (" *" if family in self.apart else "")
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {asked} |")
        totals = [f"**{_cell(self.total(column))}**" for column in columns]
        asked = sum(self.total(column).asked for column in columns)
        lines.append("| **all** | " + " | ".join(totals) + f" | {asked} |")
        if self.apart & set(self.families):
            lines.append("\n\\* needs no picture, and is not counted in *all*.")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Plain data for a file."""
        return {
            **self.about,
            "all": {column: round(self.total(column).percent, 2) for column in self.scores},
            "scores": {
                column: {family: {"right": score.right, "asked": score.asked} for family, score in families.items()}
                for column, families in self.scores.items()
            },
            "mistakes": [vars(mistake) for mistake in self.mistakes],
        }


def _sum(scores: Iterable[Score]) -> Score:
    listed = list(scores)
    return Score(sum(score.right for score in listed), sum(score.asked for score in listed))


def _cell(score: Score) -> str:
    if not score.asked:
        return "-"
    return f"{score.percent:.1f}" if score.percent < 100 else "100"
