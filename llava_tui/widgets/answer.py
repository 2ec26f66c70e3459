"""An answer that grows: streaming Markdown in several widgets, so that its length does not slow it down.

In: batches of text (50 ms each, made by the pump) and an end. Knows nothing of turns, engines or the store.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical

from llava_engine.terminal_safe import SafeText
from llava_tui.terminal.safe_markdown import strip_tokens
from llava_tui.widgets.segments import cut, settled

if TYPE_CHECKING:  # long to import, and the first frame has no answer
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from textual.widgets import Markdown


@cache
def _parser() -> MarkdownIt:
    """Markdown without HTML: a tag that a model writes is shown as it is, where Textual would drop the paragraph.

    Textual wants it at each batch; it holds nothing of what it has parsed.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("gfm-like", {"html": False, "linkify": False}).disable("linkify")
    parser.core.ruler.push("plain_code", _name_plain_code)
    parser.core.ruler.push("safe", lambda state: strip_tokens(state.tokens))
    return parser


def _name_plain_code(state: StateCore) -> None:
    """Code of no named language is text: Textual would have all of Pygments' lexers guess, at every batch of it."""
    for token in state.tokens:
        if token.type in ("fence", "code_block") and not token.info.strip():
            token.info = "text"


class AnswerText(Vertical):
    """The text of one answer.

    Args:
        text: what is there already; the rest comes by `append`.
    """

    DEFAULT_CSS = """
    AnswerText { height: auto; }
    """

    def __init__(self, text: SafeText = SafeText(""), *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._sources = _split(text)
        self._parts: list[Markdown] = []

    @property
    def text(self) -> str:
        """What has been said so far."""
        return "".join(self._sources)

    def compose(self) -> ComposeResult:
        for source, final in zip(self._sources, settled(self._sources), strict=True):
            yield self._widget(final or source)

    async def append(self, piece: SafeText) -> None:
        """Show one more batch of text."""
        part, source = self._parts[-1], self._sources[-1] + piece
        end = cut(source)
        if end is None:
            self._sources[-1] = source
            await part.append(piece)
            return
        shown = len(self._sources[-1])
        if end > shown:
            await part.append(source[shown:end])
        self._sources[-1] = source[:end]
        for rest in _split(source[end:]):
            self._sources.append(rest)
            await self.mount(self._widget(rest))
        if end < shown:
            await part.update(source[:end])

    async def finish(self) -> None:
        """The text is whole: write anew what could not be right while it grew."""
        for widget, final in zip(self._parts, settled(self._sources), strict=True):
            if final is not None:
                await widget.update(final)

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        """A model may write any link; only pages of the web are opened, no files and no other programs."""
        event.stop()
        if event.href.startswith(("https://", "http://")):
            self.app.open_url(event.href)

    def _widget(self, source: str) -> Markdown:
        from textual.widgets import Markdown

        self._parts.append(Markdown(source, parser_factory=_parser, open_links=False))
        return self._parts[-1]


def _split(text: str) -> list[str]:
    """`text` in segments that together are the text again; at least one."""
    segments = []
    while (end := cut(text)) is not None:
        segments.append(text[:end])
        text = text[end:]
    return [*segments, text]
