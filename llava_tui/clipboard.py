"""Text to the clipboard and pictures from it, by the system's own tools or through the terminal (OSC 52).

The answer always says which way it went, or why not and what would help. No shell, no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Copied:
    """What became of a text.

    Attributes:
        characters: how many were copied.
        via: "wl-copy", "xclip", …, or "OSC 52".
        sure: the tool said so; False for OSC 52, which a terminal may refuse without a word.
    """

    characters: int
    via: str
    sure: bool

    @property
    def message(self) -> str:
        """For the user: "Copied 412 characters with wl-copy." """
        raise NotImplementedError


def copy_text(text: str, env: Mapping[str, str], write: Callable[[str], None]) -> Copied:
    """Copy by a system tool, or else write an OSC 52 sequence to the terminal with `write`. Up to 2 s: off-thread."""
    raise NotImplementedError


def paste_picture(env: Mapping[str, str]) -> bytes:
    """The picture in the clipboard, as file bytes (PNG mostly). Up to some seconds: off-thread.

    Raises PictureError: no picture in it, or no tool that could tell, with what to install.
    """
    raise NotImplementedError
