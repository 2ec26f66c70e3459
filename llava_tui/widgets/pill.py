"""The pill above the prompt that says that something new stands below what is in sight. Out: `LatestWanted`."""

from __future__ import annotations

from textual.widgets import Static

from llava_tui.widgets.messages import LatestWanted


class Pill(Static):
    """Pressing it goes to the end."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("↓ new", id=id)

    def on_mount(self) -> None:
        self.display = False

    def on_click(self) -> None:
        self.post_message(LatestWanted())
