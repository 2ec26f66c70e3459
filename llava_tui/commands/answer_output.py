"""Three ways to show an answer while it is spoken: as plain text, as Markdown on a terminal, as one JSON object.

In: pieces of text, then the `Reply`. Out: writing to a stream. Whatever a model says is stripped of terminal control
sequences first. Must not know where the pieces come from.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from llava_engine.contract import ModelCard, Reply
from llava_engine.terminal_safe import ControlStripper, SafeText
from llava_tui.terminal.safe_markdown import strip_tokens

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segment
    from rich.text import Text

    from llava_engine.pictures.opening import Picture

REDRAW_S = 0.05
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


class AnswerOutput(Protocol):
    """Shows an answer. A context manager: leaving it shows what was said so far, whatever happened."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def feed(self, piece: str) -> None:
        """The next piece of text."""
        ...

    def finish(self, reply: Reply, pictures: Sequence[Picture]) -> None:
        """The answer is whole, or was cancelled."""
        ...


class PlainOutput:
    """The answer and nothing else, as it comes, with a line end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stripper = ControlStripper()
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last and not self._last.endswith("\n"):
            self._write(SafeText("\n"))

    def feed(self, piece: str) -> None:
        text = self._stripper.push(piece)
        if text:
            self._write(text)

    def finish(self, reply: Reply, pictures: Sequence[Picture]) -> None:
        if not self._last:
            self._write(SafeText("\n"))  # an empty answer is an empty line

    def _write(self, text: SafeText) -> None:
        self._stream.write(text)
        self._stream.flush()
        self._last = text


class JsonOutput:
    """One JSON object when the answer is whole. Scripts build on its keys: add, never rename."""

    def __init__(self, stream: TextIO, card: ModelCard) -> None:
        self._stream = stream
        self._card = card

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def feed(self, piece: str) -> None:
        pass

    def finish(self, reply: Reply, pictures: Sequence[Picture]) -> None:
        answer = {
            "answer": reply.text,
            "model": self._card.name,
            "where": self._card.where or None,
            "template": self._card.template,
            "prompt": reply.prompt,
            "prompt_tokens": reply.prompt_tokens,
            "cached_tokens": reply.cached_tokens,
            "completion_tokens": reply.completion_tokens,
            "token_ids": list(reply.token_ids),
            "finish_reason": reply.finish_reason,
            "time_to_first_token_s": round(reply.time_to_first_token_s, 4),
            "tokens_per_second": round(reply.tokens_per_second, 2),
            "images": [
                {"name": picture.name, "size": list(picture.size), "tokens": tokens, "sha256": picture.sha256}
                for picture, tokens in zip(pictures, reply.picture_tokens or [None] * len(pictures), strict=True)
            ],
        }
        self._stream.write(json.dumps(answer) + "\n")  # ASCII only: control characters come out escaped
        self._stream.flush()


class MarkdownOutput:
    """Markdown on a terminal: a block that is being spoken stands there as plain text, and is rendered when it ends.

    Only the block in progress is ever drawn again, so nothing above it moves.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console()
        self._stripper = ControlStripper()
        self._block = ""
        self._blocks_shown = 0
        self._live = Live(self, console=self._console, auto_refresh=False, transient=True)
        self._drawn_at = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        rest, self._block = self._block, ""
        self._live.stop()
        self._show(rest)

    def feed(self, piece: str) -> None:
        self._block += self._stripper.push(piece)
        cut = whole_blocks(self._block)
        if cut:
            whole, self._block = self._block[:cut], self._block[cut:]
            self._show(whole)  # draws the new block in progress too, in the same write
        elif time.monotonic() - self._drawn_at > REDRAW_S:
            self._live.refresh()
        else:
            return
        self._drawn_at = time.monotonic()

    def finish(self, reply: Reply, pictures: Sequence[Picture]) -> None:
        pass

    def _show(self, text: str) -> None:
        from rich.markdown import Markdown
        from rich.segment import Segment, Segments

        # Rich puts an empty line before some blocks; here one stands before all but the first.
        markdown = Markdown(text)
        strip_tokens(markdown.parsed)
        lines = self._console.render_lines(markdown, pad=False)
        while lines and not _has_ink(lines[0]):
            del lines[0]
        while lines and not _has_ink(lines[-1]):
            del lines[-1]
        if not lines:
            return
        if self._blocks_shown:
            self._console.print()
        self._console.print(Segments([part for line in lines for part in (*line, Segment.line())]), end="")
        self._blocks_shown += 1

    def __rich__(self) -> Text:
        """The last lines of the block in progress, as many as fit on the screen."""
        from rich.text import Text

        lines = Text(self._block.strip("\n")).wrap(self._console, self._console.width)
        shown = Text("\n").join(lines[-max(1, self._console.height - 3) :])
        return Text("\n") + shown if self._blocks_shown and shown else shown  # where the rendered block will stand


def _has_ink(line: list[Segment]) -> bool:
    return any(segment.text.strip() for segment in line)


def is_dumb_terminal() -> bool:
    """Whether the terminal says that it can not move its cursor."""
    return os.environ.get("TERM", "").lower() in {"dumb", "unknown"}


def whole_blocks(text: str) -> int:
    """How much of a growing Markdown text is blocks that nothing to come can change: an offset, 0 when none is.

    A block ends at an empty line outside a code fence, when the line after it is there and is not indented (an indented
    one may still belong to a list).
    """
    end = offset = 0
    fence = ""
    after_empty = False
    for line in text.splitlines(keepends=True):
        empty = not line.strip()
        if after_empty and not fence and not empty and not line[0].isspace():
            end = offset
        mark = FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
            fence = ""
        after_empty = empty
        offset += len(line)
    return end
