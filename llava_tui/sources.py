"""Pasted or typed text -> the pictures that it names, and the rest of the text.

Pure: what exists is asked through `is_file`. It opens nothing and fetches nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FoundSource:
    """A picture that a text names.

    Attributes:
        location: an absolute path or an http(s) URL, without quoting.
        start: where its quoted form begins in the text.
        end: where it ends (exclusive).
    """

    location: str
    start: int
    end: int


def find_sources(text: str, is_file: Callable[[Path], bool] = Path.is_file) -> list[FoundSource]:
    """The pictures that `text` names, in order.

    Understands paths bare, in single or double quotes, with backslash-escaped blanks, `~`, `file://` with %20, Windows
    paths, and several at once; http(s) URLs whose path ends like a picture. A path counts only when the file exists and
    is named like a picture.
    """
    raise NotImplementedError


def without_sources(text: str, found: list[FoundSource]) -> str:
    """The rest of the text, its ends stripped."""
    raise NotImplementedError
