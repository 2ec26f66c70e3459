"""The last look at every line of the app before it is drawn: nothing in it commands the terminal.

Text is stripped where it comes in. But Textual makes text too (a listing of files, Markdown that decodes `&#27;`), so
this holds for whatever a widget draws. Pictures in the terminal's own protocol are no text and do not come by here.
"""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from llava_engine.terminal_safe import strip_cells


class SafeLines(LineFilter):
    """Lines without what commands a terminal; their width stays."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment if segment.control else Segment(strip_cells(segment.text), segment.style) for segment in segments
        ]
