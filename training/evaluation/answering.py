"""Questions -> an answer file, on any engine: a line for each as it ends, gone on with after a kill, in order at last.

While it runs, lines stand in the order in which answers ended; at the end they are put into the order of the questions.
So nothing is answered twice, and a run that was killed ends with the very bytes of one that was not. What goes wrong
with one question is a line of ANSWERS.errors.jsonl; a further run tries it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_engine.contract import EngineLike, Reply, Sampling, never
from llava_engine.errors import DataError, LlavaError
from llava_engine.files.atomic import write_text
from llava_engine.files.lock import held
from llava_engine.many import answer_all
from llava_engine.questions import Question
from training.evaluation.answers import json_lines
from training.evaluation.asked import Asked, key_of
from training.evaluation.line_file import LineFile, line, mend
from training.evaluation.run_header import Header, header_file, read_header, write_header

MakeQuestion = Callable[[Asked, Path], Question[str]]
"""How a question is asked; the path is the folder of pictures."""


@dataclass(frozen=True)
class Ran:
    """How a run ended.

    Attributes:
        answered: questions that have an answer, those of earlier runs too.
        failed: questions that could not be answered.
        wanted: questions in all.
        kept: answers that were there before.
        half: the last line of an earlier run was cut off; that question was asked again.
    """

    answered: int
    failed: int
    wanted: int
    kept: int
    half: bool


def plainly(asked: Asked, images: Path) -> Question[str]:
    """A question as it stands in its file."""
    pictures = [images / asked.image] if asked.image is not None else []
    return Question.about(asked.key, asked.text, pictures)


def answer_questions(
    engine: EngineLike,
    asked: Sequence[Asked],
    images: Path,
    out: Path,
    sampling: Sampling,
    header: Header,
    *,
    make: MakeQuestion = plainly,
    said: Callable[[str, Reply], str | None] = lambda key, reply: reply.text,
    restart: bool = False,
    cancelled: Callable[[], bool] = never,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Ran:
    """Answer all questions that have no answer yet.

    Args:
        engine: answers.
        asked: the questions, in the order of the file that is to be.
        images: the folder of pictures.
        out: the answer file.
        sampling: how tokens are chosen.
        header: of this run; a file that another one began is not gone on with.
        make: how a question is asked.
        said: the key that was answered and its reply -> the text of the answer; None for a step on the way to it.
        restart: begin again, whatever is there.
        cancelled: asked often; what was answered until then is kept.
        on_progress: told how many questions are done, of how many.
        tell: told in a line what slows it down.

    Raises:
        DataError: another run's answers are there, or a file is not an answer file.
        EngineAwayError: the engine is gone; what was answered is kept.
        StorageError: another process writes this file, or it can not be written.
    """
    with held(out.with_name(f".{out.name}.lock"), out):
        if restart:
            for path in (out, header_file(out), errors_file(out)):
                path.unlink(missing_ok=True)
        wanted = {one.key: one for one in asked}
        done, half = _begin(out, header, wanted)
        kept = len(done.keys() & wanted.keys())
        failed: dict[str, str] = {}
        left = (make(one, images) for one in asked if one.key not in done)
        with LineFile.opened(out) as lines:
            for answered in answer_all(engine, left, sampling, cancelled=cancelled, tell=tell):
                one = wanted[answered.key.removesuffix(SECOND)]
                if isinstance(answered.outcome, LlavaError):
                    failed[one.key] = answered.outcome.cause
                elif isinstance(answered.outcome, Exception):
                    raise answered.outcome
                elif (text := said(answered.key, answered.outcome)) is not None:
                    row = _row(one, text, answered.outcome, header)
                    lines.write(row)
                    done[one.key] = row
                on_progress(len(done) + len(failed), len(wanted))
        _write_errors(out, failed)
        if len(done.keys() & wanted.keys()) + len(failed) == len(wanted):
            order = [done[key] for key in wanted if key in done]
            write_text(out, "".join(map(line, order)))
        return Ran(len(done.keys() & wanted.keys()), len(failed), len(wanted), kept, half)


SECOND = "\x00second"
"""Ends the key of a question's second step."""


def errors_file(out: Path) -> Path:
    """Where questions stand that could not be answered."""
    return out.with_name(f"{out.name.removesuffix('.jsonl')}.errors.jsonl")


def merge(parts: Iterable[Path], out: Path, order: Sequence[str] | None = None) -> list[str]:
    """Join the answer files of several shards, each id once.

    Args:
        parts: the files.
        out: the file that they make.
        order: ids of the questions; None leaves the order of the parts.

    Returns:
        Ids of questions that have no answer.

    Raises:
        DataError: a file is no answer file, or two give one question different answers.
    """
    found: dict[str, dict[str, Any]] = {}
    wanted = None if order is None else set(order)
    for path in parts:
        for number, row in json_lines(path, told_half=lambda: None):
            if row is None:
                raise DataError(f"{path.name}: line {number} was cut off.", "Finish that run first.")
            key = _answered(row, wanted)
            if key in found and found[key].get("text") != row.get("text"):
                of = str(row.get("question_id"))
                raise DataError(
                    f"{path.name} answers {of!r} otherwise than a file before it.", "Leave one of them out."
                )
            found[key] = row
    keys = list(found) if order is None else [key for key in order if key in found]
    write_text(out, "".join(line(found[key]) for key in keys))
    return [] if order is None else [key for key in order if key not in found]


def _answered(row: dict[str, Any], wanted: Container[str] | None) -> str:
    """The key of the question that a row answers: its id, or with its prompt where several questions share the id."""
    whole = key_of(row.get("question_id"), row.get("prompt"))
    return whole if wanted is None or whole in wanted else str(row.get("question_id"))


def _begin(out: Path, header: Header, wanted: Container[str]) -> tuple[dict[str, dict[str, Any]], bool]:
    """The answers that are there, and whether a half line was cut off the file."""
    before = read_header(out)
    if before is not None and before.run_id != header.run_id:
        raise DataError(
            f"{out.name} was begun otherwise: {'; '.join(before.differences(header))}.",
            "Write to another file, or begin again with --restart.",
        )
    done: dict[str, dict[str, Any]] = {}
    half = False
    if out.exists():
        if before is None:
            raise DataError(f"{out.name} is there, and nothing says what answered it.", "Write to another file.")
        half = mend(out)
        done = {_answered(row, wanted): row for _, row in json_lines(out, told_half=lambda: None) if row}
    write_header(out, header)
    return done, half


def _row(asked: Asked, text: str, reply: Reply, header: Header) -> dict[str, Any]:
    """A line as the original writes it. No seconds and no chance in it: the same run gives the same bytes."""
    return {
        "question_id": asked.id,
        "prompt": asked.prompt,
        "text": text,
        "answer_id": hashlib.sha256(f"{header.run_id} {asked.key}".encode()).hexdigest()[:22],
        "model_id": header.model,
        "metadata": {"tokens": reply.completion_tokens, "finish_reason": reply.finish_reason},
        **asked.more,
    }


def _write_errors(out: Path, failed: dict[str, str]) -> None:
    path = errors_file(out)
    if failed:
        write_text(path, "".join(line({"question_id": key, "error": why}) for key, why in failed.items()))
    else:
        path.unlink(missing_ok=True)
