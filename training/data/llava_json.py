"""Files of rows in LLaVA's published form -> typed rows; a broken row is an error that names it.

A row is `{id, image, conversations: [{from: "human" | "gpt", value}]}`; `image` is a file name, a list of them, or
absent; `<image>` stands in a human's text where a picture is. One JSON list, or one row a line. Opens no picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_engine.conversation.conversation import Role
from llava_engine.errors import DataError

MARK = "<image>"
_ROLES: dict[str, Role] = {"human": "user", "gpt": "assistant"}


@dataclass(frozen=True)
class RowTurn:
    """What one says.

    Attributes:
        role: who.
        text: without marks of pictures.
        pictures: how many pictures the turn shows.
        places: where they stand in `text`, when the row shows several at once; None leaves it to the template.
    """

    role: Role
    text: str
    pictures: int = 0
    places: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Row:
    """One conversation of a file.

    Attributes:
        name: how an error calls it: the file, the row's number from 0, and its id.
        turns: human and gpt in turn.
        images: file names, in the order in which the turns show them.
    """

    name: str
    turns: tuple[RowTurn, ...]
    images: tuple[str, ...]


def read_rows(path: Path) -> list[Row]:
    """All rows of a file.

    Raises:
        DataError: the file is missing, broken or empty, or a row is not of the form; it names the row.
    """
    rows = [_row(raw, f"{path.name}, row {number}") for number, raw in enumerate(_raw(path))]
    if not rows:
        raise DataError(f"{path} has no rows.")
    return rows


def _raw(path: Path) -> Iterator[Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(
            f"There is no file {path}.", "Give a .json or .jsonl file of rows, or the word world."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can not be read: {error}.") from error
    if text.lstrip().startswith("["):
        try:
            yield from json.loads(text)
        except ValueError as error:
            raise DataError(f"{path} is not valid JSON: {error}.") from error
        return
    number = 0
    for line in text.splitlines():
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DataError(f"{path.name}, row {number} is not valid JSON: {error}.") from error
            number += 1


def _row(raw: Any, place: str) -> Row:
    if not isinstance(raw, dict):
        raise DataError(f"{place} is not an object.")
    name = f"{place} (id {raw['id']!r})" if "id" in raw else place
    said = raw.get("conversations")
    if not isinstance(said, list) or not said:
        raise DataError(f"{name} has no conversations.")
    if isinstance(said[0], dict) and said[0].get("from") == "gpt":
        said = said[1:]  # some published rows begin with an answer to nothing; LLaVA's own code drops it
    turns = tuple(_turn(turn, number, name) for number, turn in enumerate(said))
    image = raw.get("image")
    images = () if image is None else (image,) if isinstance(image, str) else image
    if not isinstance(images, list | tuple) or not all(isinstance(one, str) for one in images):
        raise DataError(f"{name} has an image that is no file name.")
    shown = sum(turn.pictures for turn in turns)
    if shown != len(images):
        raise DataError(f"{name} has {len(images)} pictures, and its text shows {shown} with {MARK}.")
    if len(turns) % 2 or not turns:
        raise DataError(f"{name} does not end with an answer.")
    return Row(name, turns, tuple(images))


def _turn(raw: Any, number: int, name: str) -> RowTurn:
    if not isinstance(raw, dict) or not isinstance(raw.get("value"), str) or raw.get("from") not in _ROLES:
        raise DataError(f"{name}, turn {number} needs 'from' (human or gpt) and 'value' (text).")
    role, text = _ROLES[raw["from"]], raw["value"]
    if role != ("assistant" if number % 2 else "user"):
        raise DataError(f"{name}, turn {number} is of {raw['from']}; human and gpt must take turns, human first.")
    pictures = text.count(MARK)
    if role == "assistant" or not pictures:
        return RowTurn(role, text)  # an answer may speak of the mark; it shows nothing
    if pictures == 1:
        return RowTurn(role, text.replace(MARK, "").strip(), pictures)  # as LLaVA's own code: the template places it
    places, plain = [], ""
    for piece in text.split(MARK):
        plain += piece
        places.append(len(plain))
    return RowTurn(role, plain, pictures, tuple(places[:-1]))
