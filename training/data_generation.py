"""Rows to train on, written by a text model from captions and boxes (Liu et al. 2023, section 3): three kinds.

A folder of prompts holds system_message.txt and samples NNN_caps.txt with NNN_conv.txt. A reply that does not have the
form of its kind is no row: it is kept aside, and asked for again by a further run.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llava_engine.errors import DataError, UsageError
from training.evaluation.answers import read_json
from training.evaluation.judge import Ask, Judge, Said, spoken
from training.evaluation.judged_run import Bad, Form, Row
from training.evaluation.picture_notes import Notes, read_notes

Kind = Literal["conversation", "detail_description", "complex_reasoning"]
KINDS: tuple[Kind, ...] = ("conversation", "detail_description", "complex_reasoning")
PICTURE = "<image>"

_SAMPLE = re.compile(r"(\d+)_caps\.txt")
_RULE = re.compile(r"^[ \t]*===[ \t]*$", re.MULTILINE)
_BLOCK = re.compile(r"\s*(Question|Answer):\s*(.*\S)\s*", re.DOTALL)
_LABEL = re.compile(r"^[ \t]*(Question|Answer):[ \t]*$", re.MULTILINE)

Turns = list[dict[str, str]]


@dataclass(frozen=True)
class Prompts:
    """What the model is shown before each picture: what it is to do, and samples (captions, reply) in their order."""

    system: str
    samples: tuple[tuple[str, str], ...]

    @property
    def sha256(self) -> str:
        """Of all of it."""
        return hashlib.sha256(json.dumps([self.system, self.samples]).encode()).hexdigest()


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn."""

    temperature: float
    max_tokens: int


@dataclass(frozen=True)
class Wanted:
    """A row that is to be.

    Attributes:
        kind: of row.
        notes: of its picture.
        prompts: what the model is shown.
        questions: of detail_description, one of which is drawn.
        sampling: of the reply.
    """

    kind: Kind
    notes: Notes
    prompts: Prompts
    questions: tuple[str, ...]
    sampling: Sampling

    @property
    def ask(self) -> Ask:
        """What the model is asked: a conversation is made of captions alone, the others of boxes too."""
        notes = self.notes.captions if self.kind == "conversation" else self.notes.text
        turns = [turn for caps, said in self.prompts.samples for turn in (("user", caps), ("assistant", said))]
        messages = spoken(self.prompts.system, [*turns, ("user", notes)])
        return Ask(messages, self.sampling.temperature, self.sampling.max_tokens)

    def made(self, judge: Judge, cancelled: Callable[[], bool]) -> Row | Bad:
        """The row, or why its reply is none."""
        said = judge.ask(self.ask, cancelled=cancelled, keep=lambda said: isinstance(self.row(said), dict))
        return self.row(said)

    def row(self, said: Said) -> Row | Bad:
        """The row of a reply. Where its picture stands, and which question is asked, is drawn by its id."""
        turns = self._turns(said.text)
        if isinstance(turns, str) or not said.whole:
            return Bad(turns if isinstance(turns, str) else "it was cut off at --max-tokens", said.text)
        if any(PICTURE in turn["value"] for turn in turns):
            return Bad(f"it says {PICTURE}", said.text)
        first = turns[0]["value"]
        before = random.Random(f"{self.notes.id} place").random() < 0.5
        turns[0]["value"] = f"{PICTURE}\n{first}" if before else f"{first}\n{PICTURE}"
        return {"id": self.notes.id, "image": self.notes.image, "conversations": turns}

    def _turns(self, reply: str) -> Turns | str:
        if self.kind != "detail_description":
            return turns_of(reply)
        reply = reply.replace("\r\n", "\n").strip()
        if not reply or _RULE.search(reply):
            return "it is no description" if reply else "it is empty"
        question = random.Random(f"{self.notes.id} question").choice(self.questions)
        return [{"from": "human", "value": question}, {"from": "gpt", "value": reply}]


def turns_of(reply: str) -> Turns | str:
    """Questions and answers of a reply, or why it has none.

    Blocks stand between lines that are only ===, and begin with Question: and Answer: in turn; one more === may end it.
    """
    blocks = _RULE.split(reply.replace("\r\n", "\n"))
    if len(blocks) > 1 and not blocks[-1].strip():
        blocks.pop()
    if len(blocks) % 2:
        return "it does not end with an answer"
    turns: Turns = []
    for number, block in enumerate(blocks):
        speaker, label = (("human", "Question"), ("gpt", "Answer"))[number % 2]
        found = _BLOCK.fullmatch(block)
        if found is None or found[1] != label or _LABEL.search(found[2]):
            return f"its part {number + 1} is no {label.lower()}"
        turns.append({"from": speaker, "value": found[2]})
    return turns


def read_prompts(folder: Path) -> Prompts:
    """A folder of prompts.

    Raises:
        DataError: it has no system_message.txt, or a sample without its other half.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} can not be read: {error.strerror}.") from None
    numbers = sorted((int(found[1]), found[1]) for name in names if (found := _SAMPLE.fullmatch(name)))
    return Prompts(
        _text(folder / "system_message.txt"),
        tuple((_text(folder / f"{of}_caps.txt"), _text(folder / f"{of}_conv.txt")) for _, of in numbers),
    )


def read_wanted(
    kind: str, prompts: Path, contexts: Path, questions: Path | None, sampling: Sampling
) -> dict[str, Wanted]:
    """All rows that are to be, by id, in the order of the contexts.

    Args:
        kind: one of KINDS.
        prompts: the folder of this kind's prompts, or of one folder for each kind.
        contexts: what is known of the pictures.
        questions: one a line, for detail_description.
        sampling: of the replies.

    Raises:
        UsageError: there is no such kind, or it needs questions.
        DataError: a file can not be read, or two contexts have one id.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no kind {kind!r}.", f"Known: {', '.join(KINDS)}.")
    lines: tuple[str, ...] = ()
    if kind == "detail_description":
        if questions is None:
            raise UsageError("--questions: a description answers one of several questions.", "Give a file, one a line.")
        lines = tuple(line.strip() for line in _text(questions).split("\n") if line.strip())
        if not lines:
            raise DataError(f"{questions.name} has no questions.")
    shown = read_prompts(prompts / kind if (prompts / kind).is_dir() else prompts)
    found: dict[str, Wanted] = {}
    for notes in read_notes(contexts).values():
        if str(notes.id) in found:
            raise DataError(f"{contexts.name} has the id {notes.id} twice.", "Give each picture an id of its own.")
        found[str(notes.id)] = Wanted(kind, notes, shown, lines, sampling)
    if not found:
        raise DataError(f"{contexts.name} has no pictures.")
    return found


def _text(path: Path) -> str:
    """A file's text without the newline at its end, which is an editor's and no part of the prompt."""
    try:
        return path.read_text(encoding="utf-8-sig").rstrip("\n")
    except OSError as error:
        raise DataError(f"{path} can not be read: {error.strerror}.", "Is it a folder of prompts?") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text.") from None


def _whole(rows: Sequence[Row]) -> str:
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def _read(path: Path) -> list[Row]:
    rows: list[Any] = read_json(path, list)
    return [row for row in rows if isinstance(row, dict)]


ROWS = Form("id", _whole, _read)
"""The file that `llava train` reads."""
