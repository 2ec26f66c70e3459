"""MMBench's table -> what is asked: hint, question and options in lines, and the instruction to answer by a letter.

The table holds its pictures; a row may name another row's instead. Rows that ask one question with its options turned
are rows like all others, so that circular scores need no further rounds.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import PictureError
from llava_engine.questions import Open, Question
from training.evaluation.answering import MakeQuestion
from training.evaluation.asked import Asked
from training.evaluation.choices import Row
from training.evaluation.scienceqa_rows import LETTER_INSTRUCTION

Language = Literal["en", "cn"]

_INSTRUCTIONS: Mapping[Language, str] = {"en": LETTER_INSTRUCTION, "cn": "\n请直接回答选项字母。"}
_LONGEST_INDEX = 64  # letters; a picture is longer


def asked(row: Row) -> Asked:
    """A row as a question; what else the original's answer file says of it goes along."""
    lines = [row.hint] if row.hint.strip() not in ("", "nan") else []
    lines += [row.question, *(f"{letter}. {text}" for letter, text in row.choices.items())]
    text = "\n".join(lines)
    more = {"round_id": 0, "options": list(row.choices.values()), "option_char": list(row.choices)}
    return Asked(row.index, text, None, text, more)


def with_pictures(rows: list[Row], language: Language) -> MakeQuestion:
    """How a row is asked: its picture is decoded when its turn is near."""
    pictures = {str(row.index): row.image for row in rows}

    def make(question: Asked, images: Path) -> Question[str]:
        text = question.text + _INSTRUCTIONS[language]
        source = _source(question.key, pictures)

        def conversation(opening: Open) -> Conversation:
            return Conversation((Message.user(text, [opening(_bytes(question.key, pictures[source]))]),))

        return Question(question.key, conversation, place=(source, len(text)))

    return make


def _source(index: str, pictures: Mapping[str, str]) -> str:
    """The row that holds a row's picture."""
    seen = {index}
    while len(pictures[index]) < _LONGEST_INDEX and pictures[index].strip() in pictures:
        index = pictures[index].strip()
        if index in seen:
            break
        seen.add(index)
    return index


def _bytes(index: str, image: str) -> bytes:
    try:
        data = base64.b64decode(image, validate=False)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise PictureError(f"Row {index} of the table has no picture.", "Fetch the table again.")
    return data
