"""Reviews -> how good the second answers are beside the first ones, by category; what failed is left out and counted.

Reads reviews in LLaVA's form (`content`, `tuple`, `category`) and in FastChat's (`text`, `score`, no category).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_engine.errors import DataError
from training.evaluation.answers import json_lines
from training.evaluation.intervals import Interval, bootstrap_ratio
from training.evaluation.review import FAILED, HIGHEST, Pair, Rule, read, whole

ALL = "all"
_SCALE = 10  # scores are of ten, figures of a hundred


@dataclass(frozen=True)
class Review:
    """One review.

    Attributes:
        id: of its question.
        category: "" where the file has none.
        pair: the scores that the file has, FAILED's too; None where they are no pair of numbers from 0 to 10.
        replies: of the judge, as they are.
        gap: how much higher the answer that stood first was scored, over both orders; None of one order.
    """

    id: str
    category: str
    pair: Pair | None
    stored: Pair
    replies: tuple[str, ...]
    gap: float | None


@dataclass(frozen=True)
class Part:
    """The figures of a category.

    Attributes:
        n: reviews that count.
        failed: reviews that are left out; of the original's rule, those averaged in as -1.
        first, second: mean scores, of a hundred.
        relative: the second's in per cent of the first's; None where that is 0, or nothing counts.
        interval: 95 % of `relative`.
    """

    n: int
    failed: int
    first: float | None
    second: float | None
    relative: float | None
    interval: Interval | None

    def as_json(self) -> dict[str, Any]:
        """Plain data, not rounded."""
        return {
            "n": self.n,
            "failed": self.failed,
            "first": self.first,
            "second": self.second,
            "relative": self.relative,
            "interval95": list(self.interval) if self.interval else None,
        }


@dataclass(frozen=True)
class Summary:
    """Of one file of reviews.

    Attributes:
        file: its name.
        rule: how failed reviews are treated, and replies read.
        parts: by category, `all` among them.
        failed: ids of reviews without scores.
        disagree: ids whose stored scores are not those that the rule reads in the reply; None where it was not asked.
        position_gap: how many points of a hundred the answer in the first place was given more than the one in the
            second, where both orders were asked.
        ignored: reviews left out because somebody said so.
    """

    file: str
    rule: Rule
    parts: Mapping[str, Part]
    failed: tuple[str, ...]
    disagree: tuple[str, ...] | None
    position_gap: float | None
    ignored: int

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "file": self.file,
            "rule": self.rule,
            "summary": {name: part.as_json() for name, part in self.parts.items()},
            "failed": list(self.failed),
            "disagree": None if self.disagree is None else list(self.disagree),
            "position_gap": self.position_gap,
            "ignored": self.ignored,
        }


def summarize(
    path: Path, rule: Rule = "ours", *, reparse: bool = False, ignore: Iterable[str] = (), pictures: Mapping[str, str]
) -> Summary:
    """The figures of a file of reviews.

    Args:
        path: the file.
        rule: "ours" leaves failed reviews out; "original" averages them in as -1, as its script does.
        reparse: read the replies again in place of the scores that the file has.
        ignore: ids of questions to leave out.
        pictures: question -> picture, for intervals where questions share one; {} where that is not known.

    Raises:
        DataError: the file can not be read, or a row is no review.
    """
    left_out = set(ignore)
    reviews = [_review(path, number, row) for number, row in json_lines(path, told_half=lambda: None) if row]
    counted = [review for review in reviews if review.id not in left_out]
    take: Callable[[Review], Pair | None] = _scores(rule, reparse)
    scored = [(review, take(review)) for review in counted]
    disagree = tuple(review.id for review in counted if _differs(review, rule)) if reparse else None
    groups: dict[str, list[tuple[Review, Pair | None]]] = {ALL: scored}
    for review, pair in scored:
        if review.category and review.category != ALL:
            groups.setdefault(review.category, []).append((review, pair))
    gaps = [review.gap for review, pair in scored if pair is not None and review.gap is not None]
    return Summary(
        path.name, rule, {name: _part(groups[name], rule, pictures) for name in sorted(groups)},
        tuple(review.id for review, pair in scored if pair is None), disagree,
        _SCALE * sum(gaps) / len(gaps) if gaps else None, len(reviews) - len(counted),
    )  # fmt: skip


def as_text(summary: Summary) -> str:
    """For a terminal. Figures are the original's: made of means that are rounded to three decimals."""
    ids = ", ".join(summary.failed[:5]) + (" …" if len(summary.failed) > 5 else "")
    how = "averaged in as -1" if summary.rule == "original" else "left out"
    of_all = summary.parts[ALL]
    lines = [f"{summary.file}, rule {summary.rule}: {of_all.n + of_all.failed:,} reviews"]
    if summary.failed:
        lines.append(f"{len(summary.failed):,} without scores, {how}: {ids}")
    if summary.ignored:
        lines.append(f"{summary.ignored:,} left out as you said.")
    if summary.disagree is not None:
        named = f": {', '.join(summary.disagree[:5])}" if summary.disagree else ""
        lines.append(f"{len(summary.disagree):,} have stored scores that their replies do not have{named}")
    if summary.position_gap is not None:
        lines.append(f"First place minus second, over both orders: {summary.position_gap:+.1f} points")
    width = max(map(len, summary.parts))
    lines += ["", f"{'':<{width}}  second/first             95 %   first  second      n  failed"]
    for name, part in summary.parts.items():
        relative, between, first, second = _figures(part)
        figures = f"{relative:>12}  {between:>15}  {first:>6}  {second:>6}  {part.n:>5}  {part.failed:>6}"
        lines.append(f"{name:<{width}}  {figures}")
    return "\n".join(lines)


def as_markdown(summary: Summary) -> str:
    """The same figures as a table in Markdown."""
    lines = [f"{summary.file}, rule {summary.rule}", "", "| | second/first, % | 95 % | first | second | n | failed |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, part in summary.parts.items():
        cells = [name.replace("|", "\\|"), *_figures(part), str(part.n), str(part.failed)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _figures(part: Part) -> tuple[str, str, str, str]:
    """Relative, its interval, first and second, of means that are rounded to three decimals as the original's."""
    first, second = (None if mean is None else round(mean / _SCALE, 3) for mean in (part.first, part.second))
    relative = second / first * 100 if first and second is not None else None
    between = f"{part.interval.low:.1f} to {part.interval.high:.1f}" if part.interval else ""
    return _number(relative), between, _number(first, _SCALE), _number(second, _SCALE)


def _number(value: float | None, times: float = 1) -> str:
    return "-" if value is None else f"{round(value * times, 1):.1f}"


def _review(path: Path, number: int, row: Mapping[str, Any]) -> Review:
    identity = row.get("question_id")
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        raise DataError(f"{path.name}: line {number} is no review: it needs question_id.", "Is it a file of reviews?")
    stored = _pair(row.get("tuple", row.get("score")))
    if stored is None:
        raise DataError(f"{path.name}: line {number}, question {identity}, has no two scores that are numbers.")
    content, category = row.get("content", row.get("text")), row.get("category")
    replies = [reply for reply in (content, row.get("content_swapped")) if isinstance(reply, str)]
    return Review(
        str(identity), category if isinstance(category, str) else "", stored if _counts(stored) else None, stored,
        tuple(replies), _gap(row.get("tuples")),
    )  # fmt: skip


def _pair(value: Any) -> Pair | None:
    if not (isinstance(value, list) and len(value) == 2):
        return None
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in value):
        return None
    return float(value[0]), float(value[1])


def _counts(pair: Pair) -> bool:
    return all(0 <= score <= HIGHEST for score in pair)


def _gap(tuples: Any) -> float | None:
    """Of a review in both orders, the scores given in each to (first answer, second answer)."""
    pairs = [_pair(one) for one in tuples] if isinstance(tuples, list) and len(tuples) == 2 else []
    if not pairs or any(pair is None or not _counts(pair) for pair in pairs):
        return None
    straight, swapped = pairs
    assert straight and swapped
    return ((straight[0] - straight[1]) + (swapped[1] - swapped[0])) / 2


def _again(review: Review, rule: Rule) -> Pair | None:
    """The scores as the rule reads them in the replies."""
    return whole([read(reply, rule) for reply in review.replies]) if review.replies else None


def _differs(review: Review, rule: Rule) -> bool:
    return (_again(review, rule) or FAILED) != (review.stored if rule == "original" else review.pair or FAILED)


def _scores(rule: Rule, reparse: bool) -> Callable[[Review], Pair | None]:
    if reparse:
        return lambda review: _again(review, rule)
    if rule == "original":
        return lambda review: None if review.stored == FAILED else review.stored
    return lambda review: review.pair


def _part(scored: Sequence[tuple[Review, Pair | None]], rule: Rule, pictures: Mapping[str, str]) -> Part:
    good = [(review, pair) for review, pair in scored if pair is not None]
    failed = len(scored) - len(good)
    used = [(review, pair or FAILED) for review, pair in scored] if rule == "original" else good
    if not used:
        return Part(0, failed, None, None, None, None)
    firsts, seconds = [pair[0] for _, pair in used], [pair[1] for _, pair in used]
    first, second = (_SCALE * sum(scores) / len(scores) for scores in (firsts, seconds))
    clusters = [pictures.get(review.id, review.id) for review, _ in used]
    # A mean of -1s is no share of anything, and one picture has no spread.
    told = rule == "ours" and first and len(set(clusters)) > 1
    interval = bootstrap_ratio(firsts, seconds, clusters) if told else None
    return Part(len(good), failed, first, second, 100 * second / first if first else None, interval)
