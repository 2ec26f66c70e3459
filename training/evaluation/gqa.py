"""GQA (Hudson & Manning 2019): one right answer, and how well its kinds of question and its answers are balanced."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llava_engine.errors import DataError
from training.evaluation.answers import AnswerFile, join, read_json
from training.evaluation.result import Figure, Result, Scored, share

_NO_STEP = ("exist", "query: name", "choose name")  # of a question's program: they follow from the step before


def prediction(text: str) -> str:
    """What is compared: lower case, without full stops at the end; blanks stay, as in the published converter."""
    return text.rstrip(".").lower()


def score_gqa(file: AnswerFile, truth: Path) -> Result:
    """Accuracy on balanced questions: all, binary and open, by kind, steps and words; and the answers' distribution.

    Args:
        file: answers by question id.
        truth: SPLIT_balanced_questions.json, or any file of its form.

    Raises:
        DataError: the truth can not be read.
    """
    questions = read_json(truth, dict)
    joined = join(file, map(str, questions))
    rows = []
    groups: dict[str, list[Scored]] = defaultdict(list)
    gold: dict[str, Counter[str]] = defaultdict(Counter)
    said: dict[str, Counter[str]] = defaultdict(Counter)
    try:
        for of, question in questions.items():
            if not question["isBalanced"]:
                continue
            right, answer = str(question["answer"]), joined.answers.get(of)
            read = prediction(answer.text) if answer else None
            row = Scored(
                of, float(read == right), right, answer.text if answer else None, read,
                str(question.get("imageId", "")), str(question["question"]),
            )  # fmt: skip
            rows.append(row)
            for name in _groups(question):
                groups[name].append(row)
            if (group := question["groups"]["global"]) is not None:
                gold[group][right] += 1
                if read is not None:
                    said[group][read] += 1
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{truth.name} is not a file of GQA questions: {error!r}.") from None
    whole = share("accuracy", rows)
    order = ["binary", "open", *sorted(groups.keys() - {"binary", "open"})]
    figures = [share(name, groups[name]) for name in order if name in groups]
    distance = _distance(gold, said)
    details = {
        "accuracy": whole.value,
        "distribution": distance,
        "groups": {figure.name: {"percent": figure.value, "n": figure.of} for figure in figures},
        "per_question": {row.id: int(row.score) for row in rows},
    }
    shown = (whole, *figures, Figure("distribution (0 is best)", distance))
    return Result("gqa", "published", joined.coverage, shown, tuple(rows), details=details)


def _groups(question: Mapping[str, Any]) -> list[str]:
    kinds = question["types"]
    steps = [f"{step['operation']}: {step['argument']}" for step in question["semantic"]]
    counted = sum(not any(word in step for word in _NO_STEP) for step in steps)
    return [
        "open" if kinds["structural"] == "query" else "binary",
        f"structural/{kinds['structural']}",
        f"semantic/{kinds['semantic']}",
        f"steps/{counted}",
        f"words/{len(question['question'].split())}",
    ]


def _distance(gold: Mapping[str, Counter[str]], said: Mapping[str, Counter[str]]) -> float:
    """Chi-square of what was said against what is right, in each group of answers, weighted by its size, over 100."""
    total = weight = 0.0
    for group, right in gold.items():
        here = said.get(group, Counter())
        size = sum(right.values())
        total += size * sum((here[answer] - count) ** 2 / count for answer, count in right.items())
        weight += size
    return total / weight / 100 if weight else 0.0
