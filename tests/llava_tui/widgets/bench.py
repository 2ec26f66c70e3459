"""A bare app around one widget, and what stands on its screen."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.widget import Widget


class Bench(App[None]):
    """Shows one widget and nothing else."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self._widget = widget

    def compose(self) -> ComposeResult:
        yield self._widget

    def seen(self) -> list[str]:
        """The lines of the screen, without blanks at their ends."""
        strips = self.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips]
