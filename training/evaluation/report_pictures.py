"""The pictures of scored rows, small: which file below a folder belongs to a row, and that file as a thumbnail."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from llava_engine.errors import DataError, PictureError
from training.evaluation.answers import json_lines
from training.evaluation.result import Scored

SIDE = 256  # pixels, at most
_QUALITY = 80


@dataclass(frozen=True)
class Thumbnail:
    """A JPEG, and its size in pixels."""

    jpeg: bytes
    width: int
    height: int


class Thumbnails:
    """The pictures of a folder, by row.

    Args:
        folder: of pictures.
        questions: JSON lines of question_id and image, or ScienceQA's list; None where the rows say it themselves.

    Raises:
        DataError: the folder is none, or the questions can not be read.
    """

    def __init__(self, folder: Path, questions: Path | None = None) -> None:
        if not folder.is_dir():
            raise DataError(f"There is no folder {folder}.", "--images takes the folder of the pictures.")
        self._folder = folder.resolve()
        self._names = {} if questions is None else _names(questions)

    def file_of(self, row: Scored) -> Path | None:
        """Its picture; None where nothing says which, or it is not there.

        By the row's id or what it shares with others, through the questions; or by the name that the row itself has.
        """
        named = (self._names.get(row.id), self._names.get(row.cluster), row.cluster, f"{row.id}/image.png")
        for name in named:
            with suppress(OSError, RuntimeError, ValueError):  # too long, links in a circle, a null character
                path = (self._folder / (name or "")).resolve()
                if path.is_relative_to(self._folder) and path.is_file():
                    return path
        return None

    def open(self, file: Path) -> Thumbnail | None:
        """It, at most `SIDE` pixels wide and high; None where it is no picture."""
        from llava_engine.pictures.opening import open_picture

        try:
            image = open_picture(file, draft_to=SIDE).image.copy()
        except PictureError:
            return None
        image.thumbnail((SIDE, SIDE))
        data = io.BytesIO()
        image.save(data, "JPEG", quality=_QUALITY, optimize=True)
        return Thumbnail(data.getvalue(), image.width, image.height)


def _names(path: Path) -> dict[str, str]:
    """Question id -> picture; and TASK/PICTURE without its kind -> picture, as MME's rows name theirs."""
    found: dict[str, str] = {}
    for row in _rows(path):
        image = row.get("image")
        if isinstance(image, str) and image:
            parts = PurePosixPath(image)
            found[f"{parts.parts[0]}/{parts.stem}"] = image
            found[str(row.get("question_id", row.get("id")))] = image
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("["):
            return [row for row in json.loads(text) if isinstance(row, dict)]
    except OSError as error:
        raise DataError(f"{path} can not be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path.name} is no file of questions.") from None
    return [row for _, row in json_lines(path, told_half=lambda: None) if row is not None]
