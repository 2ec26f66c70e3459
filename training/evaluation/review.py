"""Two answers to one question, compared by a judge that reads notes of the picture (Liu et al. 2023, section 5.1).

Messages are the original's to the letter. Its reading of a reply is had too; ours takes scores in every form that
leaves no doubt, and what can not be read fails: it is left out and counted, never averaged in as -1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llava_engine.errors import DataError
from training.evaluation.answers import Answer, Coverage, join, read_answers, read_json
from training.evaluation.asked import Asked, QuestionFile
from training.evaluation.judge import Ask, spoken
from training.evaluation.judged_run import Row
from training.evaluation.picture_notes import Notes, read_notes

Rule = Literal["ours", "original"]
RULES: tuple[Rule, ...] = ("ours", "original")
Pair = tuple[float, float]
"""Scores of the first and of the second answer."""

FAILED: Pair = (-1, -1)
"""What stands in a file for scores that could not be read: the original's sign of it."""

SYSTEM = "You are a helpful and precise assistant for checking the quality of the answer."
TEMPERATURE, MAX_TOKENS = 0.2, 1024
HIGHEST = 10

_BENCH = "llava_bench_"  # before the categories of LLaVA-Bench, in its rules and reviews
_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})"
_AROUND = r"[\s*()\[\]]*"
_BETWEEN = r"[*()\[\]]*(?:\s*[,;|]\s*|\s+and\s+|\s+)[*()\[\]]*"
_SCORES = re.compile(rf"{_AROUND}{_NUMBER}{_BETWEEN}{_NUMBER}{_AROUND}\.?{_AROUND}", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Compared:
    """One question with its two answers.

    Attributes:
        number: its place among the questions, from 1.
        asked: the question.
        category: as the rules have it.
        first, second: the answers.
        role: what both are called.
        prompt: how to judge.
        notes: of the picture.
    """

    number: int
    asked: Asked
    category: str
    first: Answer
    second: Answer
    role: str
    prompt: str
    notes: Notes

    def ask(self, *, swapped: bool = False) -> Ask:
        """What the judge is asked."""
        shown = (self.second, self.first) if swapped else (self.first, self.second)
        return Ask(spoken(SYSTEM, [("user", self._content(*shown))]), TEMPERATURE, MAX_TOKENS)

    def _content(self, one: Answer, other: Answer) -> str:
        boxes = f"{self.notes.boxes}\n\n" if self.notes.boxed else ""
        role = self.role
        return (
            f"[Context]\n{self.notes.captions}\n\n{boxes}[Question]\n{self.asked.text}\n\n"
            f"[{role} 1]\n{one.text}\n\n[End of {role} 1]\n\n[{role} 2]\n{other.text}\n\n[End of {role} 2]\n\n"
            f"[System]\n{self.prompt}\n\n"
        )

    def row(self, replies: Sequence[str], rule: Rule) -> Row:
        """A review, in the original's form.

        Args:
            replies: to the answers in their order; and, where both orders were asked, to the swapped ones.
            rule: how they are read.
        """
        pairs = [read(reply, rule) for reply in replies]
        row: Row = {
            "id": self.number,
            "question_id": self.asked.id,
            "answer1_id": self.first.answer_id if self.first.answer_id is not None else self.asked.id,
            "answer2_id": self.second.answer_id if self.second.answer_id is not None else self.asked.id,
            "category": self.category,
            "content": replies[0],
            "tuple": list(whole(pairs) or FAILED),
        }
        if len(replies) > 1:
            swapped = pairs[1]
            row["content_swapped"] = replies[1]
            row["tuples"] = [list(pairs[0] or FAILED), list((swapped[1], swapped[0]) if swapped else FAILED)]
        return row


@dataclass(frozen=True)
class Reviewed:
    """What is to be reviewed, by question, and what the two answer files hold of it."""

    compared: Mapping[str, Compared]
    coverage: tuple[Coverage, Coverage]


def read_compared(questions: QuestionFile, first: Path, second: Path, context: Path, rules: Path) -> Reviewed:
    """Bring questions, answers, notes and rules together, by id.

    Raises:
        DataError: a file can not be read; a question has no notes, or its category no rule.
    """
    asked = {one.key: one for one in questions.asked}
    one, other = (join(read_answers(path), asked) for path in (first, second))
    notes, how = read_notes(context), read_json(rules, dict)
    found: dict[str, Compared] = {}
    without = [key for key, question in asked.items() if question.image not in notes]
    if without:
        raise DataError(
            f"{len(without):,} questions are about pictures that {context.name} has no notes of, the first is "
            f"{without[0]} ({asked[without[0]].image}).", "Give the file of notes that belongs to the questions.",
        )  # fmt: skip
    for number, (key, question) in enumerate(asked.items(), 1):
        if key not in one.answers or key not in other.answers:
            continue
        about = notes[str(question.image)]
        category = question.category if about.boxed else _BENCH + question.category
        rule = how.get(category, how.get("default") if about.boxed else None)
        if not (isinstance(rule, dict) and isinstance(rule.get("role"), str) and isinstance(rule.get("prompt"), str)):
            raise DataError(f"{rules.name} has no rule {{role, prompt}} for {category!r}, question {key}.")
        found[key] = Compared(
            number, question, category, one.answers[key], other.answers[key], rule["role"], rule["prompt"], about
        )
    return Reviewed(found, (one.coverage, other.coverage))


def read(reply: str, rule: Rule = "ours") -> Pair | None:
    """The two scores of a reply; None where there are none."""
    return _as_the_original(reply) if rule == "original" else _in_any_clear_form(reply)


def _in_any_clear_form(reply: str) -> Pair | None:
    """The first line that is not blank: two numbers from 0 to 10, and nothing else."""
    line = next((line for line in reply.split("\n") if line.strip()), "")
    found = _SCORES.fullmatch(line)
    pair = (float(found[1]), float(found[2])) if found else None
    return pair if pair and max(pair) <= HIGHEST else None


def _as_the_original(reply: str) -> Pair | None:
    """The first line, commas as blanks, split at single blanks: exactly two numbers, of any size."""
    words = reply.split("\n")[0].replace(",", " ").split(" ")
    try:
        first, second = map(float, words)
    except ValueError:
        return None
    return (first, second) if math.isfinite(first) and math.isfinite(second) else None


def whole(pairs: Sequence[Pair | None]) -> Pair | None:
    """Of one order its pair; of both the mean, the swapped one turned; None where one failed."""
    if len(pairs) == 1:
        return pairs[0]
    one, other = pairs
    return ((one[0] + other[1]) / 2, (one[1] + other[0]) / 2) if one and other else None
