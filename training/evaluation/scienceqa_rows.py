"""ScienceQA's questions as rows to train on and to ask, in the 26 forms of LLaVA's converter and that of version 1.5.

A form is IN-OUT: letters for the parts of the question (Question, Context, Multiple options, Lecture, Explanation), and
for those of the answer (Answer, Lecture, Explanation; P a plan, with marked parts). Its texts are those that models
were trained on, with the converter's oddities; `as_named` undoes the one that swaps lecture and explanation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from llava_engine.errors import UsageError
from training.evaluation.scienceqa import LETTERS, Problem

_ASKED = ("QCM", "CQM", "QCML", "QCME", "QCMLE", "QCLM", "QCEM", "QCLEM")
_ANSWERED = ("A", "AL", "AE", "ALE", "AEL", "LA", "EA", "LEA", "ELA", "LEPA")
FORMS = (*(f"{asked}-{answered}" for asked in _ASKED for answered in _ANSWERED), "1.5")

LETTER_INSTRUCTION = "\nAnswer with the option's letter from the given choices directly."
PICTURE = "<image>"


def rows(problems: Iterable[Problem], form: str, *, as_named: bool = False) -> list[dict[str, Any]]:
    """Rows {id, image?, conversations} of some questions; the picture is ID/FILE, below the split's folder.

    Args:
        problems: the questions.
        form: one of `FORMS`.
        as_named: L is the lecture and E the explanation also in AL and AE, where the converter swaps them.

    Raises:
        UsageError: there is no such form.
    """
    if form not in FORMS:
        raise UsageError(f"--format: there is no form {form!r}; for example QCM-LEPA, CQM-A or 1.5.")
    return [_row(problem, form, as_named) for problem in problems]


def _row(problem: Problem, form: str, as_named: bool) -> dict[str, Any]:
    if form == "1.5":
        asked, answered = _newest(problem), problem.letter
    else:
        asking, _, answering = form.partition("-")
        asked, answered = question(problem, asking), answer(problem, answering, as_named=as_named)
        if problem.image is not None:
            asked = f"{asked}\n{PICTURE}"
    row: dict[str, Any] = {"id": problem.id}
    if problem.image is not None:
        row["image"] = f"{problem.id}/{problem.image}"
    row["conversations"] = [{"from": "human", "value": asked}, {"from": "gpt", "value": answered}]
    return row


def question(problem: Problem, form: str) -> str:
    """The question's parts, each a line."""
    options = " ".join(f"({letter}) {text}" for letter, text in zip(LETTERS, problem.choices, strict=False))
    parts = {
        "Q": f"Question: {problem.question}",
        "C": f"Context: {problem.hint.strip() or 'N/A'}",
        "M": f"Options: {options}",
        "L": f"BECAUSE: {problem.lecture}",
        "E": f"BECAUSE: {problem.solution}",
        "LE": f"BECAUSE: {problem.lecture} {problem.solution}",
    }
    names = re.findall("LE|.", form)
    return _tidied("\n".join(parts[name] for name in names))


def answer(problem: Problem, form: str, *, as_named: bool = False) -> str:
    """The answer's parts, in one line; LEPA marks them, each in lines of its own."""
    lecture, solution = problem.lecture, problem.solution
    if form == "LEPA":
        marked = f"LECTURE: {lecture.strip()}\n" if lecture.strip() else ""
        marked += f"SOLUTION: {solution.strip()}\n" if solution.strip() else ""
        return _tidied(f"{marked}###\nANSWER: {problem.letter}.")
    said = f"The answer is {problem.letter}."
    if form in ("AL", "AE") and not as_named:
        lecture, solution = solution, lecture
    words = {"L": lecture, "E": solution}
    before, _, after = form.partition("A")
    text = " ".join([*(words[name] for name in before), said])
    if after:
        text += " BECAUSE: " + " ".join(words[name] for name in after)
    return _tidied(f"Answer: {text}")


def _newest(problem: Problem) -> str:
    """The form of version 1.5: the picture first, no marks, options a line each."""
    lines = [PICTURE] if problem.image is not None else []
    lines += [f"Context: {problem.hint}"] if problem.hint.strip() else []
    lines.append(problem.question)
    lines += [f"{letter}. {text}" for letter, text in zip(LETTERS, problem.choices, strict=False)]
    return "\n".join(lines)


def _tidied(text: str) -> str:
    """The converter's last touch, oddities included: it takes a mark away everywhere, not only where it means to."""
    text = text.replace("  ", " ").strip()
    if text.endswith("BECAUSE:"):
        text = text.replace("BECAUSE:", "").strip()
    for mark in ("Question: ", "Answer: "):
        if text.startswith(mark):
            text = text.replace(mark, "")
    return text
