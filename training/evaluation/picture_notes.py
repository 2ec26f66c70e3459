"""Pictures as a model without eyes gets them: captions, and boxes with what is in them, by the picture's file name.

For judges and for data that a text model writes. Two forms: {id, image, captions, instances [{category, bbox}]} of
COCO's pictures, and {image, caption} of LLaVA-Bench.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_engine.errors import DataError
from training.evaluation.answers import json_lines


@dataclass(frozen=True)
class Notes:
    """What is written of one picture.

    Attributes:
        id: of the row; the picture's name where it has none.
        image: the picture's file.
        captions: one a line.
        boxes: `category: [x1, y1, x2, y2]` a line, in parts of the picture's width and height; "" where there are none.
        boxed: the form that has boxes, if only an empty list of them.
    """

    id: str | int
    image: str
    captions: str
    boxes: str
    boxed: bool

    @property
    def text(self) -> str:
        """Captions, then the boxes after a blank line, where there are any."""
        return f"{self.captions}\n\n{self.boxes}" if self.boxes else self.captions


def read_notes(path: Path) -> dict[str, Notes]:
    """All rows of a file, by their pictures.

    Raises:
        DataError: it can not be read, or a row is none of the two forms; its line and id are named.
    """
    found: dict[str, Notes] = {}
    for number, row in json_lines(path, told_half=lambda: None):
        notes = None if row is None else _notes(row)
        if isinstance(notes, str) or notes is None:
            named = "" if row is None else f" ({row.get('id', row.get('image'))})"
            raise DataError(f"{path.name}: line {number}{named} {notes or 'was cut off'}.")
        if notes.image in found:
            raise DataError(f"{path.name}: line {number} is a second one of the picture {notes.image}.")
        found[notes.image] = notes
    return found


def _notes(row: Mapping[str, Any]) -> Notes | str:
    """A row's notes, or what is wrong with it."""
    image = row.get("image")
    captions = row.get("captions", row.get("caption"))
    if not isinstance(image, str):
        return "names no picture"
    if isinstance(captions, list) and all(isinstance(one, str) for one in captions):
        captions = "\n".join(captions)
    if not isinstance(captions, str):
        return "has no captions"
    instances = row.get("instances", [])
    if not isinstance(instances, list):
        return "has instances that are no list"
    lines = []
    for one in instances:
        box = one.get("bbox") if isinstance(one, dict) else None
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            return f"has a box that is not four numbers: {box!r}"
        lines.append(f"{one.get('category')}: {box}")
    identity = row.get("id", image)
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        return "has an id that is none"
    return Notes(identity, image, captions, "\n".join(lines), "instances" in row)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
