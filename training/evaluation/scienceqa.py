"""ScienceQA (Lu et al. 2022) as LLaVA evaluates it: the answers are read by rule and scored in the nine usual columns.

`scienceqa_rows` makes the rows that are asked. What no rule can read is wrong and named; it is never drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llava_engine.errors import DataError
from training.evaluation.answers import AnswerFile, join, read_json
from training.evaluation.result import Result, Scored, share

Rule = Literal["newest", "june"]
"""Of June 2023: one "The answer is X." · the newest also reads a letter by itself, and "X. …"."""

LETTERS = "ABCDE"

_SAID = re.compile(r"The answer is ([A-Z]).")  # its last dot is any character, as published


@dataclass(frozen=True)
class Problem:
    """One question of problems.json.

    Attributes:
        id: its number, as text.
        question, hint, lecture, solution: as they are.
        choices: the options.
        answer: the index of the right one.
        image: the picture's file name, or None.
        subject, grade: "natural science" …, 1 to 12; None where the file does not say.
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int
    hint: str
    image: str | None
    lecture: str = ""
    solution: str = ""
    subject: str | None = None
    grade: int | None = None

    @property
    def letter(self) -> str:
        """Of the right option."""
        return LETTERS[self.answer]


def read_problems(folder: Path, split: str = "test", problems: str = "problems.json") -> list[Problem]:
    """The questions of a split, in its order.

    Args:
        folder: holds problems.json and pid_splits.json.
        split: "train", "val", "test", "minitest", …
        problems: the name of the first of them.

    Raises:
        DataError: a file is missing or of another form, or there is no such split.
    """
    splits = read_json(folder / "pid_splits.json", dict)
    known = read_json(folder / problems, dict)
    if split not in splits:
        raise DataError(f"There is no split {split!r}.", f"Known: {', '.join(splits)}.")
    return [_problem(str(number), known.get(str(number))) for number in splits[split]]


def _problem(number: str, row: Any) -> Problem:
    try:
        grade = row.get("grade")
        problem = Problem(
            number,
            str(row["question"]),
            tuple(map(str, row["choices"])),
            int(row["answer"]),
            str(row.get("hint") or ""),
            row.get("image"),
            str(row.get("lecture") or ""),
            str(row.get("solution") or ""),
            row.get("subject"),
            int(str(grade).removeprefix("grade")) if grade else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise DataError(f"problems.json has no whole question {number}: question, choices, answer.") from None
    if not 0 <= problem.answer < len(problem.choices) <= len(LETTERS):
        raise DataError(f"Question {number} of problems.json has no option {problem.answer}.")
    return problem


# ---- reading ----


def read_answer(text: str, choices: int, rule: Rule = "newest") -> int | None:
    """The option that an answer names, as an index; None where it names none that the question has."""
    letter: str | None = None
    if rule == "newest":
        if text in LETTERS and len(text) == 1:
            letter = text
        elif len(text) >= 3 and text[0] in LETTERS and text[1:3] == ". ":
            letter = text[0]
    if letter is None:
        said = _SAID.findall(text)
        letter = said[0] if len(said) == 1 else None
    index = LETTERS.find(letter) if letter is not None else -1
    return index if 0 <= index < choices else None


# ---- scoring ----

_COLUMNS: dict[str, Callable[[Problem], bool]] = {
    "NAT": lambda problem: problem.subject == "natural science",
    "SOC": lambda problem: problem.subject == "social science",
    "LAN": lambda problem: problem.subject == "language science",
    "TXT": lambda problem: bool(problem.hint),
    "IMG": lambda problem: problem.image is not None,
    "NO": lambda problem: not problem.hint and problem.image is None,
    "G1-6": lambda problem: problem.grade is not None and problem.grade <= 6,
    "G7-12": lambda problem: problem.grade is not None and problem.grade >= 7,
    "ALL": lambda problem: True,
}


def score_scienceqa(file: AnswerFile, problems: Sequence[Problem], rule: Rule = "newest") -> Result:
    """Accuracy over all questions of the split; what is missing or can not be read is wrong.

    Args:
        file: answers by question id.
        problems: the split.
        rule: how an answer is read.
    """
    joined = join(file, [problem.id for problem in problems])
    rows, unread = {}, []
    results: dict[str, int] = {}
    for problem in problems:
        answer = joined.answers.get(problem.id)
        read = None if answer is None else read_answer(answer.text, len(problem.choices), rule)
        if answer is not None and read is None:
            unread.append(problem.id)
        results[problem.id] = -1 if read is None else read
        rows[problem.id] = Scored(
            problem.id, float(read == problem.answer), problem.letter, answer.text if answer else None,
            None if read is None else LETTERS[read], "", problem.question,
        )  # fmt: skip
    figures = [
        share(name, [rows[problem.id] for problem in problems if belongs(problem)])
        for name, belongs in _COLUMNS.items()
    ]
    whole = figures[-1]
    answered = joined.coverage.answered
    details = {
        "table": {
            figure.name: {"right": int(figure.right or 0), "of": figure.of, "percent": figure.value}
            for figure in figures
        },
        "accuracy": whole.value,
        "accuracy_of_answered": 100 * (whole.right or 0) / answered if answered else None,
        "unparsed": unread,
        "results": results,
    }
    shown = (whole, *figures[:-1])
    return Result("scienceqa", rule, joined.coverage, shown, tuple(rows.values()), tuple(unread), details)


def original_map_of(result: Result) -> dict[str, Any]:
    """The file that the original's script writes beside its figure; -1 where nothing was read."""
    whole = result.figures[0]
    return {
        "acc": whole.value,
        "correct": int(whole.right or 0),
        "count": whole.of,
        "results": result.details["results"],
        "outputs": {row.id: row.said for row in result.rows if row.said is not None},
    }
