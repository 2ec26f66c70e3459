"""The files that the benchmarks' own servers take: answers in the form of each.

vqav2, vizwiz: processed as LLaVA's converters do. gqa: lower case, no full stop at the end. mmbench: a table (as TSV;
as xlsx too where openpyxl is installed). seed, mmvet: as they are. mme: TASK.txt, blanks for tabs and line ends.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llava_engine.errors import DataError, UsageError
from llava_engine.files.atomic import replaced_file, storage_errors, write_text
from training.evaluation.answers import AnswerFile, join
from training.evaluation.asked import Asked, read_questions
from training.evaluation.choices import read_mmbench
from training.evaluation.gqa import prediction
from training.evaluation.reading import short_answer
from training.evaluation.yes_no import mme_asked, mme_key, mme_shown, text_lines

NEEDS_QUESTIONS = ("vqav2", "vizwiz")
TASKS = "mme"


def export(name: str, file: AnswerFile, out: Path, questions: Path | None, truth: Path | None) -> list[str]:
    """Write the file to upload.

    Args:
        name: the set.
        file: the answers.
        out: the file; for mme a folder.
        questions: what was asked: for vqav2 and vizwiz, which want an answer to every question.
        truth: MMBench's table, or the folder of MME's TASK.txt.

    Returns:
        Ids of questions without an answer: an empty one is written for them, or none where the converters write none.

    Raises:
        UsageError: the set is not known, or something that it needs is not given.
        DataError: a file can not be read, or the answers are to other questions.
    """
    if name in NEEDS_QUESTIONS:
        if questions is None:
            raise UsageError(f"--questions: {name} wants an answer to every question.", "Give the file of questions.")
        return _of_questions(name, file, out, read_questions(questions).asked)
    if name == "mmbench":
        if truth is None:
            raise UsageError("--truth: MMBench's file repeats its table.", "Give the table.")
        return _mmbench(file, out, truth)
    if name == TASKS:
        if truth is None:
            raise UsageError("--truth: MME's files repeat its questions.", "Give the folder of TASK.txt.")
        return _mme(file, out, truth)
    if name not in _SIMPLE:
        raise UsageError(f"There is no file to upload for {name!r}.", f"Known: {', '.join(SETS)}.")
    _write(out, _SIMPLE[name](file))
    return []


def _latest(file: AnswerFile) -> dict[str, str]:
    """The last answer to each question, in the order of the first."""
    return {answer.id: answer.text for answer in file.answers}


_SIMPLE: dict[str, Callable[[AnswerFile], str]] = {
    "gqa": lambda file: _json(
        [{"questionId": of, "prediction": prediction(text)} for of, text in _latest(file).items()]
    ),
    "seed": lambda file: "".join(
        json.dumps({"question_id": of, "prediction": text}, ensure_ascii=False) + "\n"
        for of, text in _latest(file).items()
    ),
    "mmvet": lambda file: _json({f"v1_{of.removeprefix('v1_')}": text for of, text in _latest(file).items()}),
}
SETS = (*NEEDS_QUESTIONS, "mmbench", TASKS, *_SIMPLE)


def _of_questions(name: str, file: AnswerFile, out: Path, asked: Sequence[Asked]) -> list[str]:
    joined = join(file, [one.key for one in asked])
    said = {of: short_answer(answer.text) for of, answer in joined.answers.items()}
    rows: list[dict[str, Any]]
    if name == "vizwiz":
        rows = [{"image": one.image, "answer": said[one.key]} for one in asked if one.key in said]
    else:
        rows = [{"question_id": one.id, "answer": said.get(one.key, "")} for one in asked]
    _write(out, _json(rows))
    return list(joined.coverage.missing)


def _mmbench(file: AnswerFile, out: Path, truth: Path) -> list[str]:
    table = read_mmbench(truth)
    joined = join(file, [str(row.index) for row in table])
    rows: list[list[Any]] = [["index", "question", "A", "B", "C", "D", "prediction", "answer", "split"]]
    for row in table:
        answer = joined.answers.get(str(row.index))
        options = [row.choices.get(letter) for letter in "ABCD"]
        rows.append([row.index, row.question, *options, answer.text if answer else "", row.answer, row.split])
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(rows)
    write_text(out.with_suffix(".tsv"), text.getvalue())
    if out.suffix == ".xlsx":
        _write_workbook(out, rows)
    return list(joined.coverage.missing)


def _write_workbook(out: Path, rows: Sequence[Sequence[Any]]) -> None:
    try:
        import openpyxl
    except ImportError:
        raise UsageError(
            f"openpyxl writes {out.name}, and is not installed; {out.with_suffix('.tsv').name} was written.",
            "Install it with: pip install -c constraints.txt '.[eval]'",
        ) from None
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    with replaced_file(out) as part:
        book.save(part)


def _mme(file: AnswerFile, out: Path, truth: Path) -> list[str]:
    """PICTURE, question, label and answer, parted by tabs: a line each, in the order of the evaluation tool's files."""
    tasks = sorted(truth.glob("*.txt"))
    if not tasks:
        raise DataError(f"{truth} has no TASK.txt.", "Give the folder of MME's evaluation tool.")
    lines = {path.stem: [line.split("\t")[:3] for _, line in text_lines(path)] for path in tasks}
    joined = join(file, [mme_asked(task, line) for task in lines for line in lines[task]], mme_key, mme_shown)
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    for task, rows in lines.items():
        written = []
        for row in rows:
            answer = joined.answers.get(mme_asked(task, row))
            said = " ".join((answer.text if answer else "").replace("\t", " ").split("\n"))
            written.append("\t".join([*row, said]) + "\n")
        write_text(out / f"{task}.txt", "".join(written))
    return list(joined.coverage.missing)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def _write(out: Path, text: str) -> None:
    if not out.parent.is_dir():
        raise DataError(f"There is no folder {out.parent}.", "Make it, or write elsewhere.")
    write_text(out, text)
