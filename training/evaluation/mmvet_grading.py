"""MM-Vet's answers graded by a judge: a number from 0 to 1 each, in several runs, asked five times for one at most."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_engine.errors import DataError
from training.evaluation.answers import Answer, AnswerFile, Joined, join, read_answers, read_json
from training.evaluation.judge import Ask, Judge, spoken
from training.evaluation.judged_run import Form, Row
from training.evaluation.mmvet import judge_prompt
from training.evaluation.reading import grade

TRIES = 5
MAX_TOKENS = 3
_WARMER = 0.5  # each further try: the same question at the same temperature gets the same reply
_AGAIN = "\nPredict the correctness of the answer (digit): "

HEAD = """\
Grade the predictions of the table below. Each row has a question, its ground truth, a prediction, and the correctness \
of the prediction: a number from 0.0 (all wrong) to 1.0 (all right), with one decimal. Where the ground truth joins \
parts by <AND>, all of them belong into a right prediction, and some of them make it partly right; where it joins them \
by <OR>, any one of them is right. Fill in the last cell with the number alone.

Question | Ground truth | Prediction | Correctness
--- | --- | --- | ---
Which two fruits are in the bowl? | apple <AND> pear | There are bananas. | 0.0
Which two fruits are in the bowl? | apple <AND> pear | An apple. | 0.5
Which two fruits are in the bowl? | apple <AND> pear | It holds a pear and an apple. | 1.0
What is 3x, if x is what the board shows? | 12 <OR> twelve | 12 | 1.0
What is 3x, if x is what the board shows? | 12 <OR> twelve | x is 4, so 3x is 13. | 0.2
Why do people laugh? | The dog wears the man's hat, and the man the dog's collar. | The dog has a hat on. | 0.4
"""


@dataclass(frozen=True)
class Graded:
    """One answer to be graded in so many runs."""

    id: str
    question: str
    runs: int

    @property
    def asks(self) -> list[Ask]:
        """What each run asks first."""
        return [self.ask(run) for run in range(self.runs)]

    def ask(self, run: int, attempt: int = 0) -> Ask:
        """What a run asks at its attempt."""
        text = self.question + (_AGAIN if attempt else "")
        return Ask(spoken(None, [("user", text)]), _WARMER * attempt, MAX_TOKENS, run)

    def graded(self, judge: Judge, cancelled: Callable[[], bool], *, failed_as_zero: bool) -> Row:
        """The grades of all runs; None (or 0) where no try gave one."""
        contents, scores = [], []
        for run in range(self.runs):
            found, reply = None, ""
            for attempt in range(TRIES):
                reply = judge.ask(self.ask(run, attempt), cancelled=cancelled).text
                if (found := grade(reply)) is not None:
                    break
            contents.append(reply)
            scores.append(0.0 if found is None and failed_as_zero else found)
        return {"id": self.id, "model": [judge.model] * self.runs, "content": contents, "score": scores}


def read_graded(answers: Path, truth: Path, head: str, runs: int) -> tuple[dict[str, Graded], Joined[str]]:
    """What is to be graded, by question, and what the answers hold of it.

    Args:
        answers: {question_id, text} lines, ids 0 or v1_0; or the {v1_0: text} file that MM-Vet's own page takes.
        truth: mm-vet.json.
        head: what stands before the row of each question.
        runs: how often each is graded.

    Raises:
        DataError: a file can not be read, or there is no answer to any question.
    """
    questions = read_json(truth, dict)
    joined = join(_answers(answers), questions, key=lambda answer: _key(answer, questions))
    found = {}
    for of, row in questions.items():
        if not (isinstance(row, dict) and isinstance(row.get("question"), str) and isinstance(row.get("answer"), str)):
            raise DataError(f"{truth.name} is not MM-Vet's file: {of} has no question and answer.")
        if of in joined.answers:
            prompt = judge_prompt(head, row["question"], row["answer"], joined.answers[of].text)
            found[of] = Graded(of, prompt, runs)
    return found, joined


def _answers(path: Path) -> AnswerFile:
    if path.suffix == ".json":
        said = read_json(path, dict)
        if all(isinstance(text, str) for text in said.values()):
            return AnswerFile(path, tuple(Answer(of, text) for of, text in said.items()))
    return read_answers(path)


def _key(answer: Answer, questions: Mapping[str, Any]) -> str | None:
    return next((of for of in (answer.id, f"v1_{answer.id}") if of in questions), None)


def _whole(rows: Sequence[Row]) -> str:
    graded = {row["id"]: {name: value for name, value in row.items() if name != "id"} for row in rows}
    return json.dumps(graded, indent=2, ensure_ascii=False) + "\n"


def _read(path: Path) -> list[Row]:
    return [{"id": of, **row} for of, row in read_json(path, dict).items() if isinstance(row, dict)]


GRADES = Form("id", _whole, _read)
"""The file that `llava eval mmvet table` reads."""
