"""A picture as a screen shows it: plain data and a way to open it. Knows no widget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llava_engine.terminal_safe import SafeText, strip_control

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Shown:
    """A picture to be shown.

    Attributes:
        name: what to call it, on one line.
        size: (width, height) of the original, in pixels.
        open: gives the RGB picture; slow, called in a thread; may raise.
        tokens: what it costs; None while no model has counted it.
    """

    name: SafeText
    size: tuple[int, int]
    open: Callable[[], Image.Image]
    tokens: int | None = None

    @property
    def measures(self) -> SafeText:
        """Size and cost."""
        size = f"{self.size[0]}×{self.size[1]}"
        return strip_control(size if self.tokens is None else f"{size} · {self.tokens:,} tokens")

    @property
    def caption(self) -> SafeText:
        """Name, size and cost in one line."""
        return strip_control(f"{self.name} · {self.measures}")
