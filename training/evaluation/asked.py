"""Files of questions -> what is asked, in order: JSON lines as for LLaVA-Bench and VQA, or ScienceQA's list of rows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llava_engine.errors import DataError, UsageError
from training.evaluation.answers import json_lines

PICTURE = "<image>"


@dataclass(frozen=True)
class Asked:
    """One question.

    Attributes:
        id: as the file has it, a text or a number.
        text: what is asked, without a mark for the picture.
        image: the picture's file, below the folder of pictures; None for a question without one.
        prompt: what the answer file says was asked: the text, with <image> where the file has it.
        more: further fields of its line in the answer file.
        category: of the question; "" where the file has none.
        shared: others have its id: MME and TextVQA ask several questions by the name of their picture.
    """

    id: str | int
    text: str
    image: str | None
    prompt: str
    more: Mapping[str, Any] = field(default_factory=dict)
    category: str = ""
    shared: bool = False

    @property
    def key(self) -> str:
        """Ids compare as text."""
        return key_of(self.id, self.prompt) if self.shared else str(self.id)


def key_of(identity: object, prompt: object) -> str:
    """What tells questions apart that share an id."""
    return f"{identity}\n{prompt}"


@dataclass(frozen=True)
class QuestionFile:
    """All questions of a file, and the hash of its bytes."""

    path: Path
    asked: tuple[Asked, ...]
    sha256: str


def read_questions(path: Path) -> QuestionFile:
    """Read a file of questions.

    Raises:
        DataError: it can not be read, a question is not whole, or two of one id are not about one picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can not be read: {error.strerror}.") from None
    asked = _of_list(path, data) if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[" else _of_lines(path)
    if not asked:
        raise DataError(f"{path.name} has no questions.")
    pictures: dict[str, str | None] = {}
    times = Counter(one.key for one in asked)
    for one in asked:
        if times[one.key] > 1 and (one.image is None or pictures.setdefault(one.key, one.image) != one.image):
            raise DataError(f"{path.name} has two questions {one.key!r}.", "Give each an id of its own.")
    told_apart = (replace(one, shared=times[one.key] > 1) for one in asked)
    found = {one.key: one for one in told_apart}  # the same question twice is one
    return QuestionFile(path, tuple(found.values()), hashlib.sha256(data).hexdigest())


def _of_lines(path: Path) -> list[Asked]:
    found = []
    for number, row in json_lines(path, told_half=lambda: None):
        if row is None or not isinstance(row.get("text"), str) or "question_id" not in row:
            raise DataError(f"{path.name}: line {number} is no question: it needs question_id and text.")
        image, category = _image(path, number, row.get("image")), row.get("category")
        identity = _id(path, number, row["question_id"])
        found.append(
            Asked(identity, row["text"], image, row["text"], category=category if isinstance(category, str) else "")
        )
    return found


def _of_list(path: Path, data: bytes) -> list[Asked]:
    try:
        rows: Any = json.loads(data.decode("utf-8-sig"))
        turns = [(row, row["conversations"][0]["value"]) for row in rows]
    except (ValueError, RecursionError, KeyError, IndexError, TypeError):
        raise DataError(f"{path.name} is no list of rows {{id, image, conversations}}.") from None
    found = []
    for number, (row, asked) in enumerate(turns, 1):
        if not isinstance(asked, str):
            raise DataError(f"{path.name}: row {number} asks nothing.")
        text = asked.replace(PICTURE, "").strip()
        identity = _id(path, number, row.get("id"))
        found.append(Asked(identity, text, _image(path, number, row.get("image")), asked))
    return found


def _id(path: Path, number: int, value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{path.name}: question {number} has no id.")
    return value


def _image(path: Path, number: int, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or Path(value).is_absolute() or ".." in Path(value).parts:
        raise DataError(f"{path.name}: the picture of question {number} is no file below the folder of pictures.")
    return value


def shard(asked: Sequence[Asked], part: str) -> Sequence[Asked]:
    """The I-th of N runs of neighbouring questions, by "I/N", as the original divides them; it may be empty.

    Raises:
        UsageError: it is not I/N, with I from 1 to N.
    """
    first, slash, last = part.partition("/")
    if not (slash and first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise UsageError(f"--shard: {part!r} is not I/N, with I from 1 to N.", "For example 2/8.")
    index, count = int(first) - 1, int(last)
    size = -(-len(asked) // count)
    return asked[index * size : (index + 1) * size]
