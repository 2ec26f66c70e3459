"""POPE (Li et al. 2023) and MME (Fu et al. 2023): questions about pictures that are answered by yes or no."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from llava_engine.errors import DataError
from training.evaluation.answers import Answer, AnswerFile, join, json_lines
from training.evaluation.reading import mme_reading, pope_yes
from training.evaluation.result import Figure, Result, Scored, f1, share

# ---- POPE ----


class _Probe(NamedTuple):
    id: str
    category: str
    image: str
    question: str


def score_pope(file: AnswerFile, truth: Path, questions: Path) -> Result:
    """Object hallucination: accuracy, precision, recall, F1 and the share of yes, by category.

    Labels are found by category, picture and question, never by the number of a line: two versions of the labels are
    about, and line by line most rows of one meet a question of the other.

    Args:
        file: answers.
        truth: the folder of coco_pope_CATEGORY.json, or one such file.
        questions: what was asked: JSON lines of question_id, image, text and category.

    Raises:
        DataError: a file can not be read, or the labels are of another version.
    """
    labels = _pope_labels(truth)
    probes = _probes(questions)
    for category in dict.fromkeys(probe.category for probe in probes):
        asked = [probe for probe in probes if probe.category == category]
        strange = sum((category, probe.image, probe.question) not in labels for probe in asked)
        if strange:
            raise DataError(
                f"{category}: {strange:,} of {len(asked):,} questions have no label in coco_pope_{category}.json: "
                "another version of the labels?",
                "Take the labels that the questions were made from.",
            )
    joined = join(file, [probe.id for probe in probes])
    rows, counts = [], {category: _Counts() for category in dict.fromkeys(probe.category for probe in probes)}
    for probe in probes:
        label = labels[probe.category, probe.image, probe.question]
        answer = joined.answers.get(probe.id)
        said = None if answer is None else pope_yes(answer.text)
        counts[probe.category].add(label, said)
        rows.append(
            Scored(
                probe.id,
                float(said is not None and said == label),
                _word(label),
                answer.text if answer else None,
                None if said is None else _word(said),
                probe.image,
                probe.question,
            )
        )
    categories = {category: count.as_json() for category, count in counts.items()}
    mean_f1 = sum(one["f1"] for one in categories.values()) / len(categories) if categories else 0.0
    figures = []
    for category, one in categories.items():
        mine = [row for probe, row in zip(probes, rows, strict=True) if probe.category == category]
        found = f1(f"{category} F1", ((row, row.read == "yes", row.truth == "yes") for row in mine), one["n"])
        yes = [replace(row, score=float(row.read == "yes")) for row in mine if row.read is not None]
        figures += [
            replace(found, value=found.value or 0.0),
            share(f"{category} accuracy", mine),
            share(f"{category} precision", [row for row in mine if row.read == "yes"]),
            share(f"{category} recall", [row for row in mine if row.truth == "yes"]),
            replace(share(f"{category} yes", yes), right=None),
        ]
    weighed = tuple((1 / len(categories), figure) for figure in figures[::5])
    figures.insert(0, Figure("mean F1", 100 * mean_f1, parts=weighed))
    details = {"categories": categories, "mean_f1": mean_f1}
    return Result("pope", "published", joined.coverage, tuple(figures), tuple(rows), details=details)


class _Counts:
    """Of one category. What is missing is in no precision; a missing yes counts in recall, and all in accuracy."""

    def __init__(self) -> None:
        self.tp = self.fp = self.tn = self.fn = self.missing = self.positive = self.n = 0

    def add(self, label: bool, said: bool | None) -> None:
        self.n += 1
        self.positive += label
        if said is None:
            self.missing += 1
        elif said:
            self.tp += label
            self.fp += not label
        else:
            self.tn += not label
            self.fn += label

    def as_json(self) -> dict[str, Any]:
        precision, recall = _ratio(self.tp, self.tp + self.fp), _ratio(self.tp, self.positive)
        return {
            "tp": self.tp,
            "fp": self.fp,
            "tn": self.tn,
            "fn": self.fn,
            "missing": self.missing,
            "n": self.n,
            "accuracy": _ratio(self.tp + self.tn, self.n),
            "precision": precision,
            "recall": recall,
            "f1": _ratio(2 * precision * recall, precision + recall),
            "yes_ratio": _ratio(self.tp + self.fp, self.n - self.missing),
        }


def _pope_labels(truth: Path) -> dict[tuple[str, str, str], bool]:
    files = sorted(truth.glob("coco_pope_*.json")) if truth.is_dir() else [truth]
    if not files:
        raise DataError(f"{truth} has no coco_pope_CATEGORY.json.", "Give the folder of POPE's label files.")
    labels: dict[tuple[str, str, str], bool] = {}
    for path in files:
        category = path.name.removesuffix(".json").removeprefix("coco_pope_")
        for number, row in json_lines(path, told_half=lambda: None):
            if row is None or row.get("label") not in ("yes", "no"):
                raise DataError(f"{path.name}: line {number} has no label yes or no.")
            labels[category, str(row.get("image")), str(row.get("text"))] = row["label"] == "yes"
    return labels


def _probes(path: Path) -> list[_Probe]:
    found = []
    for number, row in json_lines(path, told_half=lambda: None):
        if row is None or not {"question_id", "image", "text", "category"} <= row.keys():
            raise DataError(f"{path.name}: line {number} is no question: question_id, image, text, category.")
        question = str(row["text"]).split("\n")[0]
        found.append(_Probe(str(row["question_id"]), str(row["category"]), str(row["image"]), question))
    return found


# ---- MME ----

PERCEPTION = (
    "existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR",
)  # fmt: skip
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")

_SUFFIX = "Please answer yes or no."
_INSTRUCTION = "Answer the question using a single word or phrase."

_Asked = tuple[str, str, str]  # the task, the picture's name without its kind, the question


def score_mme(file: AnswerFile, truth: Path, questions: Path | None = None) -> Result:
    """Accuracy of questions plus accuracy of pictures (both of a picture's questions right), by task, and two sums.

    Args:
        file: answers; each `question_id` is TASK/PICTURE, and its prompt says which of the two questions it answers.
        truth: the release's folder of tasks, or the folder of the evaluation tool's TASK.txt.
        questions: not needed.

    Raises:
        DataError: a file can not be read.
    """
    labels = _in_order(_mme_labels(truth))
    joined = join(file, labels, mme_key, mme_shown, lambda answer: mme_shown(mme_key(answer) or ("", "", "")))
    by_task: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    rows, unread = [], []
    for asked, label in labels.items():
        answer = joined.answers.get(asked)
        said = mme_reading(answer.text) if answer else None
        right = said == label
        if said == "other":
            unread.append(mme_shown(asked))
        by_task[asked[0]][asked[1]].append(right)
        rows.append(
            Scored(
                mme_shown(asked),
                float(right),
                label,
                answer.text if answer else None,
                None if said == "other" else said,
                f"{asked[0]}/{asked[1]}",
                asked[2],
            )
        )
    tasks = {task: _mme_task(pictures) for task, pictures in by_task.items()}
    sums = {
        name: sum(tasks[task]["score"] for task in names if task in tasks)
        for name, names in (("perception", PERCEPTION), ("cognition", COGNITION))
    }
    by_name = {task: _mme_figure(task, one, by_task[task]) for task, one in tasks.items()}
    figures = [
        Figure(name, sums[name], parts=tuple(part for task in names if task in by_name for part in by_name[task].parts))
        for name, names in (("perception", PERCEPTION), ("cognition", COGNITION))
    ]
    figures += by_name.values()
    details = {"tasks": tasks, **sums, "neither": unread}
    return Result("mme", "published", joined.coverage, tuple(figures), tuple(rows), tuple(unread), details)


def _mme_figure(task: str, figures: dict[str, float], pictures: dict[str, list[bool]]) -> Figure:
    """Points of a task: a sum of two means, of its questions and of its pictures."""
    questions = [
        Scored(f"{name} {number}", float(right), cluster=f"{task}/{name}")
        for name, rights in pictures.items()
        for number, right in enumerate(rights)
    ]
    whole = [Scored(name, float(all(rights)), cluster=f"{task}/{name}") for name, rights in pictures.items()]
    parts = ((1.0, share("accuracy", questions)), (1.0, share("both right", whole)))
    return Figure(task, figures["score"], int(figures["questions"]), parts=parts)


def _mme_task(pictures: dict[str, list[bool]]) -> dict[str, float]:
    questions = sum(map(len, pictures.values()))
    acc = 100 * _ratio(sum(map(sum, pictures.values())), questions)
    acc_plus = 100 * _ratio(sum(all(rights) for rights in pictures.values()), len(pictures))
    return {"acc": acc, "acc_plus": acc_plus, "score": acc + acc_plus, "questions": questions}


def _in_order(labels: dict[_Asked, str]) -> dict[_Asked, str]:
    """The tasks as the benchmark lists them, unknown ones last."""
    known = [*PERCEPTION, *COGNITION]
    return dict(sorted(labels.items(), key=lambda item: known.index(item[0][0]) if item[0][0] in known else len(known)))


def mme_asked(task: str, fields: Sequence[str]) -> _Asked:
    """What a line of the evaluation tool's files asks: PICTURE, question, …."""
    return task, _stem(fields[0]), _folded(fields[1])


def mme_key(answer: Answer) -> _Asked | None:
    """Which question an answer answers: its id and its prompt say it."""
    task, *_, picture = answer.id.split("/")  # some tasks keep their pictures in a folder "images"
    return (task, _stem(picture), _folded(answer.prompt))


def mme_shown(asked: _Asked) -> str:
    """For people: TASK/PICTURE and the question."""
    task, picture, question = asked
    return f"{task}/{picture}\t{question}"


def _mme_labels(truth: Path) -> dict[_Asked, str]:
    labels: dict[_Asked, str] = {}
    if not truth.is_dir():
        raise DataError(f"{truth} is no folder.", "Give MME's folder of tasks, or of its TASK.txt files.")
    for path in sorted(truth.glob("*.txt")):
        for number, line in text_lines(path):
            fields = line.split("\t")
            if len(fields) < 3:
                raise DataError(f"{path.name}: line {number} is not PICTURE, question, answer parted by tabs.")
            labels[mme_asked(path.stem, fields)] = fields[2].strip().lower()
    if labels:
        return labels
    for path in sorted(truth.glob("*/*.txt")) + sorted(truth.glob("*/questions_answers_YN/*.txt")):
        task = path.relative_to(truth).parts[0]
        for number, line in text_lines(path):
            fields = line.split("\t")
            if len(fields) < 2:
                raise DataError(f"{task}/{path.name}: line {number} is not a question and its answer, parted by a tab.")
            labels[task, path.stem, _folded(fields[0])] = fields[1].strip().lower()
    if not labels:
        raise DataError(f"{truth} has no questions: TASK.txt, or TASK/PICTURE.txt.", "Give MME's folder of tasks.")
    return labels


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers; raises DataError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise DataError(f"{path} can not be read as text.") from None
    yield from ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _folded(question: str) -> str:
    question = question.replace(_INSTRUCTION, "").replace(_SUFFIX, "")
    return re.sub(r"\s+", " ", question).strip()


def _stem(picture: str) -> str:
    return picture.rpartition(".")[0] or picture


def _word(yes: bool) -> str:
    return "yes" if yes else "no"


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
