"""Answer files: JSON Lines of {question_id, prompt, text, …}, as the original writes them, read by id and counted.

A line ends at "\\n" only, for U+2028 stands inside of texts. Ids compare as strings; of several answers to one question
the last counts. What is missing, given twice or unknown is never hidden: `Coverage` names it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from llava_engine.errors import DataError

Key = TypeVar("Key", bound=Hashable)

_SHOWN = 60  # letters of a line that can not be read


@dataclass(frozen=True)
class Answer:
    """One row of an answer file.

    Attributes:
        id: of the question.
        text: what was said.
        prompt: what was asked; "" where the file does not say.
        answer_id: of the answer itself; None where the file does not say.
    """

    id: str
    text: str
    prompt: str = ""
    answer_id: str | int | None = None


@dataclass(frozen=True)
class Coverage:
    """What an answer file holds of what was asked.

    Attributes:
        rows: of the file.
        wanted: questions.
        missing: questions without an answer, in their order.
        duplicate: questions with several, in the order of their second one.
        unknown: answers to what was not asked.
        half: the last line was cut off and left out.
    """

    rows: int
    wanted: int
    missing: tuple[str, ...] = ()
    duplicate: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    half: bool = False

    @property
    def answered(self) -> int:
        """How many questions have an answer."""
        return self.wanted - len(self.missing)

    @property
    def whole(self) -> bool:
        """Whether each question has one answer, and there is no other."""
        return not (self.missing or self.duplicate or self.unknown)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "rows": self.rows,
            "wanted": self.wanted,
            "answered": self.answered,
            "missing": list(self.missing),
            "duplicate": list(self.duplicate),
            "unknown": list(self.unknown),
        }


@dataclass(frozen=True)
class AnswerFile:
    """All rows of an answer file; `half` says that its last line was cut off and is not among them."""

    path: Path
    answers: tuple[Answer, ...]
    half: bool = False


@dataclass(frozen=True)
class Joined(Generic[Key]):
    """Answers by what they answer, the last of several; and what the file holds of what was asked."""

    answers: Mapping[Key, Answer]
    coverage: Coverage


def read_answers(path: Path) -> AnswerFile:
    """Read an answer file.

    Raises:
        DataError: it can not be read, or a line is no answer; the line is named.
    """
    rows, half = [], False
    for number, row in json_lines(path, told_half=lambda: None):
        if row is None:
            half = True
            continue
        identity, text = row.get("question_id"), row.get("text")
        if isinstance(identity, bool) or not isinstance(identity, str | int) or not isinstance(text, str):
            raise DataError(
                f"{path.name}: line {number} is no answer: it needs question_id and text.", "Is it an answer file?"
            )
        prompt = row.get("prompt")
        own = row.get("answer_id")
        rows.append(
            Answer(
                str(identity),
                text,
                prompt if isinstance(prompt, str) else "",
                own if isinstance(own, str | int) else None,
            )
        )
    return AnswerFile(path, tuple(rows), half)


def json_lines(path: Path, told_half: Callable[[], None]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The objects of a JSON Lines file with the numbers of their lines; None for a last line that was cut off.

    Raises:
        DataError: the file can not be read, or a line is no JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="strict")
    except (OSError, UnicodeDecodeError) as error:
        why = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"can not be read: {error.strerror}"
        raise DataError(f"{path.name} {why}.") from None
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if number == len(lines):  # no newline after it: whoever wrote it was killed
                told_half()
                yield number, None
                return
            raise DataError(
                f"{path.name}: line {number} is no JSON: {line[:_SHOWN]!r}", "Remove the line, or run again."
            ) from None
        if not isinstance(row, dict):
            raise DataError(f"{path.name}: line {number} is no JSON object: {line[:_SHOWN]!r}", "Remove the line.")
        yield number, row


def read_json(path: Path, kind: type[Any]) -> Any:
    """A JSON file whose outermost value is a `kind` (dict or list); raises DataError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path} can not be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path.name} is no JSON file.") from None
    if not isinstance(value, kind):
        raise DataError(f"{path.name} is not what this set's file is: a JSON {kind.__name__} is wanted.")
    return value


def join(
    file: AnswerFile,
    wanted: Iterable[Key],
    key: Callable[[Answer], Key | None] = lambda answer: answer.id,  # type: ignore[assignment,return-value]
    shown: Callable[[Key], str] = str,
    shown_unknown: Callable[[Answer], str] = lambda answer: answer.id,
) -> Joined[Key]:
    """Bring answers and questions together; the order of rows never matters, but that of several to one question.

    Args:
        file: the answers.
        wanted: what was asked, each once.
        key: what an answer answers; None for nothing that is known.
        shown: a question, for `Coverage`.
        shown_unknown: an answer to nothing, for `Coverage`.

    Raises:
        DataError: there are answers, and not one is to any of the questions.
    """
    questions = dict.fromkeys(wanted)
    found: dict[Key, Answer] = {}
    duplicate: dict[Key, None] = {}
    unknown: dict[str, None] = {}
    for answer in file.answers:
        of = key(answer)
        if of is None or of not in questions:
            unknown[shown_unknown(answer)] = None
            continue
        if of in found:
            duplicate[of] = None
        found[of] = answer
    missing = [of for of in questions if of not in found]
    if file.answers and questions and not found:
        here, there = next(iter(unknown)), shown(next(iter(questions)))
        raise DataError(
            f"{file.path.name} has no answer to any question: ids like {here!r}, where {there!r} is asked.",
            "Give the questions that were asked.",
        )
    coverage = Coverage(
        len(file.answers), len(questions), tuple(map(shown, missing)), tuple(map(shown, duplicate)), tuple(unknown),
        file.half,
    )  # fmt: skip
    return Joined(found, coverage)
