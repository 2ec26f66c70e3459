"""The sample pictures that come with the embedded model, each with a question that it can answer.

In: the package's own files. Out: plain values; an empty list where the samples are missing. Knows no screen.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

QUESTIONS = ("What is in this picture?", "How many things are there?", "What colours do you see?")
"""For samples that bring no question of their own."""


@dataclass(frozen=True)
class Sample:
    """A picture, its (width, height) in pixels, and a question about it."""

    picture: Path
    size: tuple[int, int]
    question: str


def samples(folder: Path | None = None, limit: int = 3) -> list[Sample]:
    """The first few samples of `folder` (None: the package's).

    `questions.json` there may say in which order to show them and what to ask: an object from file name to question. A
    file that is missing or broken only costs its questions.
    """
    if folder is None:
        folder = Path(str(files("llava_engine"))) / "embedded" / "samples"
    asked: dict[str, str] = {}
    try:
        told = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
        asked = {str(name): str(question) for name, question in told.items()}
    except (OSError, ValueError, AttributeError):
        asked = {}
    order = {name: place for place, name in enumerate(asked)}
    found: list[Sample] = []
    for path in sorted(folder.glob("*.png"), key=lambda path: (order.get(path.name, len(order)), path.name)):
        if len(found) < limit and (size := _png_size(path)):
            found.append(Sample(path, size, asked.get(path.name, QUESTIONS[len(found) % len(QUESTIONS)])))
    return found


def _png_size(path: Path) -> tuple[int, int] | None:
    """Width and height as a PNG's first chunk says them (PNG specification, 11.2.2); no image library."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError:
        return None
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    width, height = struct.unpack(">II", head[16:24])
    return (width, height) if width and height else None
