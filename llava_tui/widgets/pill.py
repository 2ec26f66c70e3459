"""The pill above the prompt that says that something new stands below what is in sight. Out: `LatestWanted`."""

from __future__ import annotations

from llava_engine.terminal_safe import SafeText
from llava_tui.widgets.messages import LatestWanted
from llava_tui.widgets.words import Words


class Pill(Words):
    """Pressing it goes to the end."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(SafeText("↓ new"), id=id)

    def on_mount(self) -> None:
        self.display = False

    def on_click(self) -> None:
        self.post_message(LatestWanted())
