"""The door through which text comes on the screen: it takes `SafeText`, and reads nothing as markup.

Nothing else of the app makes Textual's `Static` and `Content` (they are banned in pyproject.toml), so that the type
checker finds a name or a word from outside that was not stripped.
"""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from llava_engine.terminal_safe import SafeText

__all__ = ["Content", "Words", "content"]

Part = SafeText | Content | tuple[SafeText, str]
"""A text, a content, or a text and its style."""


def content(*parts: Part) -> Content:
    """These parts in a row."""
    return Content.assemble(*parts)


class Words(Static):
    """A text that stands somewhere."""

    def __init__(
        self, text: SafeText | Content | None = None, *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(content() if text is None else content(text), id=id, classes=classes, markup=False)

    def say(self, text: SafeText | Content) -> None:
        """Another text in its place."""
        self.update(content(text))
