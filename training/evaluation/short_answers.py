"""TextVQA (Singh et al. 2019), VQA v2 (Goyal et al. 2017) and VizWiz (Gurari et al. 2018): ten people's short answers.

An answer's score is how many of the ten agree, three being enough (`reading.soft_score`); what is compared is what the
VQA answer processor makes of both sides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from llava_engine.errors import DataError
from training.evaluation.answers import Answer, AnswerFile, join, json_lines, read_json
from training.evaluation.reading import short_answer, soft_score, without_marks, words_of
from training.evaluation.result import Figure, Result, Scored, f1, share

UNANSWERABLE = "unanswerable"

_Place = tuple[str, str]  # a picture, and the question about it in lower case


def score_textvqa(file: AnswerFile, truth: Path) -> Result:
    """TextVQA. Answers carry the picture as their id, and the question in their prompt, in one of four forms.

    Raises:
        DataError: the truth can not be read.
    """
    bench = read_json(truth, dict)
    try:
        rows_of_truth = {
            (str(row["image_id"]), str(row["question"]).lower()): (str(row["question_id"]), [*map(str, row["answers"])])
            for row in bench["data"]
        }
    except (KeyError, TypeError) as error:
        raise DataError(f"{truth.name} is not TextVQA's file: {error!r}.") from None
    joined = join(file, rows_of_truth, _place, _shown_place, lambda answer: _shown_place(_place(answer)))
    rows = []
    for place, (number, truths) in rows_of_truth.items():
        answer = joined.answers.get(place)
        read = short_answer(answer.text) if answer else None
        score = 0.0 if read is None else soft_score(read, [short_answer(one) for one in truths])
        rows.append(_row(number, score, truths, answer, read, place[0], place[1]))
    whole = share("accuracy", rows)
    details = {"accuracy": whole.value, "per_question": {row.id: row.score for row in rows}}
    return Result("textvqa", "published", joined.coverage, (whole,), tuple(rows), details=details)


def asked_in(prompt: str) -> str:
    """The question of a TextVQA prompt, in lower case.

    "OCR tokens: … Question: q Short answer:", or q in a line of its own, before, after or without one of OCR tokens.
    """
    if prompt.startswith("OCR tokens: "):
        found = re.search(r"Question: (.*?) Short answer:", prompt, re.DOTALL)
        return found[1].lower() if found else ""
    lines = prompt.split("\n")
    at = 1 if lines[0].startswith("Reference OCR token:") and len(lines) > 1 else 0
    return lines[at].lower()


def score_vqav2(file: AnswerFile, truth: Path) -> Result:
    """VQA v2, as its toolkit scores the file that LLaVA's converter writes.

    The toolkit processes both sides only where the ten people differ; where all say the same it compares raw.

    Args:
        file: answers by question id.
        truth: the annotations of a split that has them.

    Raises:
        DataError: the truth can not be read.
    """
    bench = read_json(truth, dict)
    try:
        truths = {str(row["question_id"]): row for row in bench["annotations"]}
        people = {of: [str(one["answer"]) for one in row["answers"]] for of, row in truths.items()}
        pictures = {of: str(row.get("image_id", "")) for of, row in truths.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{truth.name} is not a file of VQA v2 annotations: {error!r}.") from None
    joined = join(file, truths)
    rows = []
    for of, said in people.items():
        answer = joined.answers.get(of)
        read = short_answer(answer.text) if answer else ""  # the upload of what is missing is an empty answer
        score = toolkit_score(read, said)
        rows.append(_row(of, score, said, answer, read if answer else None, pictures[of]))
    whole = share("accuracy", rows)
    by_answer = _grouped(rows, lambda row: str(truths[row.id].get("answer_type", "")))
    by_question = _grouped(rows, lambda row: str(truths[row.id].get("question_type", "")))
    details = {
        "accuracy": whole.value,
        "by_answer_type": {figure.name: figure.value for figure in by_answer},
        "by_question_type": {figure.name: figure.value for figure in by_question},
        "per_question": {row.id: 100 * row.score for row in rows},
    }
    return Result(
        "vqav2", "toolkit", joined.coverage, (whole, *by_answer, *by_question), tuple(rows), details=details
    )  # fmt: skip


def toolkit_score(answer: str, truths: list[str]) -> float:
    """The VQA toolkit's score of one answer."""
    answer, truths = _one_line(answer), [_one_line(one) for one in truths]
    if len(set(truths)) > 1:
        answer = words_of(without_marks(answer))
        truths = [words_of(without_marks(one)) for one in truths]
    return soft_score(answer, truths)


def score_vizwiz(file: AnswerFile, truth: Path, questions: Path) -> Result:
    """VizWiz, both sides processed; also the F1 of finding out what can not be answered.

    Args:
        file: answers by question id.
        truth: val.json: a list of {image, question, answers, answer_type, answerable}.
        questions: JSON lines of question_id and image, by which answers are joined to pictures.

    Raises:
        DataError: a file can not be read, or a picture is in one of them only.
    """
    bench = read_json(truth, list)
    pictures: dict[str, str] = {}
    for number, row in json_lines(questions, told_half=lambda: None):
        if row is None or not {"question_id", "image"} <= row.keys():
            raise DataError(f"{questions.name}: line {number} is no question: question_id, image.")
        pictures[str(row["question_id"])] = str(row["image"])
    try:
        truths = {str(row["image"]): row for row in bench}
        people = {image: [str(one["answer"]) for one in row["answers"]] for image, row in truths.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{truth.name} is not VizWiz's file of answers: {error!r}.") from None
    strange = [image for image in pictures.values() if image not in truths]
    if strange:
        raise DataError(f"{truth.name} has no picture {strange[0]}.", "Give the truth of the same split.")
    joined = join(file, pictures)
    rows = []
    for of, image in pictures.items():
        answer = joined.answers.get(of)
        read = short_answer(answer.text) if answer else None
        score = 0.0 if read is None else soft_score(read, [short_answer(one) for one in people[image]])
        rows.append(_row(image, score, people[image], answer, read, image, str(truths[image].get("question", ""))))
    whole = share("accuracy", rows)
    by_type = _grouped(rows, lambda row: str(truths[row.id].get("answer_type", "")))
    found = f1(
        "unanswerable F1",
        ((row, row.read == UNANSWERABLE, truths[row.id].get("answer_type") == UNANSWERABLE) for row in rows),
    )
    details = {
        "accuracy": whole.value,
        "by_answer_type": {figure.name: figure.value for figure in by_type},
        "unanswerable_f1": found.value,
        "per_question": {row.id: row.score for row in rows},
    }
    figures = (whole, found, *by_type)
    return Result("vizwiz", "both processed", joined.coverage, figures, tuple(rows), details=details)


def _row(
    of: str, score: float, truths: list[str], answer: Answer | None, read: str | None, cluster: str, question: str = ""
) -> Scored:
    shown = " · ".join(dict.fromkeys(truths))
    return Scored(of, score, shown, answer.text if answer else None, read, cluster, question)


def _grouped(rows: Iterable[Scored], key: Callable[[Scored], str]) -> list[Figure]:
    groups: dict[str, list[Scored]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [share(name, groups[name]) for name in sorted(groups) if name]


def _place(answer: Answer) -> _Place:
    return answer.id, asked_in(answer.prompt)


def _shown_place(place: _Place) -> str:
    import json

    return json.dumps(place, ensure_ascii=False)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def uploads(answers: Mapping[str, Any]) -> dict[str, str]:
    """What is uploaded for each id: the processed answer."""
    return {of: short_answer(str(text)) for of, text in answers.items()}
