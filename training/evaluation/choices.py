"""MMBench (Liu et al. 2023) and SEED-Bench (Li et al. 2023): questions with options, answered by a letter."""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llava_engine.errors import DataError
from training.evaluation.answers import AnswerFile, join, read_json
from training.evaluation.reading import option
from training.evaluation.result import Figure, Result, Scored, share

Rule = Literal["letters", "exact"]
"""An answer is read (`reading.option`) · it must be the letter itself."""

_ROUNDS = 10**6  # the rows that ask one question with its options turned have indices so far apart


@dataclass(frozen=True)
class Row:
    """A row of MMBench.

    Attributes:
        index: its number; that of its question is `index % 10**6`.
        question: with its hint before it, as it is asked.
        choices: letter -> text, up to the first option that is empty.
        answer: the right letter; "" in the test split.
        category, l2: two levels of what is asked for.
        image: base64, or the index of the row that holds the picture.
        split: "dev" or "test".
    """

    index: int
    hint: str
    question: str
    choices: Mapping[str, str]
    answer: str
    category: str
    l2: str
    image: str
    split: str


def read_mmbench(path: Path) -> list[Row]:
    """The rows of MMBench's table; raises DataError."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a picture is longer than the 131,072 letters that it allows
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} can not be read as a table: {error}.") from None
    rows = []
    for number, row in enumerate(table, 2):
        if not (row.get("index") or "").isdecimal() or row.get("question") is None or row.get("A") is None:
            raise DataError(f"{path.name}: row {number} has no index, question and option A.", "Is it MMBench's table?")
        choices: dict[str, str] = {}
        for letter in "ABCDEFGH":
            text = row.get(letter) or ""
            if text.strip() in ("", "nan"):
                break
            choices[letter] = text
        if not choices:
            raise DataError(f"{path.name}: row {number} has no options.")
        rows.append(
            Row(
                int(row["index"]),
                row.get("hint") or "",
                row["question"],
                choices,
                row.get("answer") or "",
                row.get("category") or "",
                row.get("l2-category") or "",
                row.get("image") or "",
                row.get("split") or "",
            )
        )
    return rows


def score_mmbench(file: AnswerFile, truth: Path, rule: Rule = "letters") -> Result:
    """Circular accuracy: a question is right if all of its rows are. Beside it that of its first row alone.

    Args:
        file: answers by index.
        truth: MMBench's table, of a split that has answers.
        rule: how an answer is read.

    Raises:
        DataError: the table can not be read, or has no answers.
    """
    table = read_mmbench(truth)
    if not any(row.answer for row in table):
        raise DataError(f"{truth.name} has no answers: it is the test split.", "Write the file to upload with export.")
    joined = join(file, [str(row.index) for row in table])
    rows, unread = [], []
    right: dict[int, dict[int, bool]] = defaultdict(dict)
    for row in table:
        answer = joined.answers.get(str(row.index))
        read = None if answer is None else option(answer.text, row.choices) if rule == "letters" else answer.text
        if answer is not None and read is None:
            unread.append(str(row.index))
        right[row.index % _ROUNDS][row.index] = read == row.answer
        rows.append(
            Scored(
                str(row.index),
                float(read == row.answer),
                row.answer,
                answer.text if answer else None,
                read,
                str(row.index % _ROUNDS),
                row.question,
            )
        )
    first = {row.index % _ROUNDS: row for row in reversed(table)}
    questions = {of: first[of] for of in right}

    def circular(name: str, of: Sequence[int]) -> Figure:
        return share(name, [Scored(str(one), float(all(right[one].values()))) for one in of])

    def grouped(key: str) -> list[Figure]:
        names = sorted({getattr(row, key) for row in questions.values()} - {""})
        return [circular(name, [of for of, row in questions.items() if getattr(row, key) == name]) for name in names]

    whole = circular("circular", list(questions))
    vanilla = share("vanilla", [Scored(str(of), float(right[of][min(right[of])])) for of in questions])
    by_l2, by_category = grouped("l2"), grouped("category")
    details = {
        "questions": len(questions),
        "rows_of_truth": len(table),
        "circular": whole.value,
        "vanilla": vanilla.value,
        "by_l2": {figure.name: figure.value for figure in by_l2},
        "by_category": {figure.name: figure.value for figure in by_category},
    }
    figures = (whole, vanilla, *by_l2, *by_category)
    return Result("mmbench", rule, joined.coverage, figures, tuple(rows), tuple(unread), details)


def score_seed(file: AnswerFile, truth: Path, rule: Rule = "exact") -> Result:
    """Accuracy of all, of pictures, of videos, and by type of question.

    Args:
        file: answers by question id.
        truth: SEED-Bench.json.
        rule: "exact" is the published one.

    Raises:
        DataError: the file can not be read.
    """
    bench = read_json(truth, dict)
    try:
        types = {int(number): str(name) for name, number in bench["question_type"].items()}
        questions = {str(row["question_id"]): row for row in bench["questions"]}
        asked = {of: _seed_question(row, types) for of, row in questions.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{truth.name} is not SEED-Bench's file: {error!r}.") from None
    joined = join(file, asked)
    rows, unread = [], []
    for of, (_, kind, choices, label, data) in asked.items():
        answer = joined.answers.get(of)
        read = None if answer is None else option(answer.text, choices) if rule == "letters" else answer.text
        if answer is not None and read not in choices:
            unread.append(of)
        said = answer.text if answer else None
        rows.append(
            Scored(of, float(read == label), label, said, read, f"{kind} {data}", str(questions[of]["question"]))
        )
    figures = [share("all", rows)]
    for kind in ("image", "video"):
        of_kind = [row for row in rows if asked[row.id][1] == kind]
        figures += [share(kind, of_kind)] if of_kind else []
        for name in dict.fromkeys(types.values()):
            of_type = [row for row in of_kind if asked[row.id][0] == name]
            figures += [share(name, of_type)] if of_type else []
    tally = {one.name: {"right": int(one.right or 0), "of": one.of, "percent": one.value} for one in figures}
    return Result("seed", rule, joined.coverage, tuple(figures), tuple(rows), tuple(unread), {"table": tally})


def _seed_question(row: Any, types: Mapping[int, str]) -> tuple[str, str, dict[str, str], str, str]:
    choices = {letter: str(row[f"choice_{letter.lower()}"]) for letter in "ABCD" if f"choice_{letter.lower()}" in row}
    return types[int(row["question_type_id"])], str(row["data_type"]), choices, str(row["answer"]), str(row["data_id"])
