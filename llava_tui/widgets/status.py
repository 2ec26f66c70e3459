"""The status line: what is true of the model at this moment.

In: the session's `Facts`, replaced whenever something changes. Out: one line that fits any width, the least important
part dropped first.
"""

from __future__ import annotations

from typing import ClassVar

from textual.reactive import reactive
from textual.widget import Widget

from llava_engine.byte_text import gigabytes
from llava_engine.contract import LoadProgress, Stage
from llava_engine.terminal_safe import one_line, strip_control
from llava_tui.session.events import Facts
from llava_tui.widgets.words import Content, content

BAR = 12
"""Cells of the loading bar."""

_STAGES: dict[Stage, str] = {"waiting": "waiting", "seeing": "looking", "reading": "reading"}


def human_seconds(seconds: float) -> str:
    """7 ms, 310 ms, 1.2 s."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


class Status(Widget):
    """One line at the bottom of the chat."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "status--model",
        "status--quiet",
        "status--live",
        "status--alert",
        "status--track",
    }

    facts: reactive[Facts] = reactive(Facts())

    def render(self) -> Content:
        left = self._fitting(self._left(), self.size.width)
        right = self._fitting(self._right(), self.size.width - left.cell_length - 3)
        gap = max(0, self.size.width - left.cell_length - right.cell_length)
        return content(left, strip_control(" " * gap), right)

    def _fitting(self, parts: list[Content], width: int) -> Content:
        """The first parts that fit, with a dot between them."""
        dot = self._styled("  ·  ", "quiet")
        line = content()
        for part in parts:
            longer = content(line, dot, part) if line.cell_length else part
            if longer.cell_length > max(0, width):
                break
            line = longer
        return line

    def _left(self) -> list[Content]:
        facts = self.facts
        parts = []
        if facts.card:
            parts.append(self._styled(one_line(facts.card.name), "model"))
        match facts.phase:
            case "loading":
                parts.append(self._loading(facts.progress))
            case "no_model":
                parts.append(self._styled("no model", "alert"))
            case "answering" if facts.tokens_per_second:
                parts.append(self._styled(f"{facts.tokens_per_second:.0f} tokens/s", "live"))
            case "answering" if facts.answer_progress is not None:
                parts.append(self._styled(f"{_STAGES[facts.answer_progress.stage]} …", "live"))
            case "answering":
                started = facts.time_to_first_token_s is not None
                parts.append(self._styled("writing …" if started else "looking …", "live"))
            case "stopping":
                parts.append(self._styled("stopping …", "live"))
            case "idle" if facts.tokens_per_second:
                parts.append(self._styled(f"{facts.tokens_per_second:.0f} tokens/s", "quiet"))
            case "idle":
                parts.append(self._styled("ready", "quiet"))
        if facts.waiting:
            parts.append(self._styled("a message waits", "live"))
        if facts.card and facts.card.where:
            parts.append(self._styled(f"at {facts.card.where}", "quiet"))
        elif facts.card:
            quantized = facts.card.plan is not None and facts.card.plan.quantize != "none"
            form = facts.card.kernel if quantized else facts.card.dtype
            parts.append(self._styled(f"{facts.card.device} {form}", "quiet"))
        return parts

    def _right(self) -> list[Content]:
        facts = self.facts
        parts = []
        if not facts.saved:
            parts.append(self._styled("not saved", "alert"))
        if (context := self._used_context()) is not None:
            parts.append(context)
        if facts.time_to_first_token_s is not None:
            parts.append(self._styled(f"first after {human_seconds(facts.time_to_first_token_s)}", "quiet"))
        if facts.context_used is not None and facts.picture_tokens:
            parts.append(self._styled(f"{facts.picture_tokens:,} for pictures", "quiet"))
        return parts

    def _used_context(self) -> Content | None:
        """How much of what the model can hold is used, as far as either is known."""
        used, total, card = self.facts.context_used, self.facts.context_total, self.facts.card
        if used is None:
            never_known = card is not None and "count" in card.cannot
            return self._styled(f"— of {total:,} tokens" if total else "— tokens", "quiet") if never_known else None
        if not total:
            return self._styled(f"{used:,} tokens", "quiet")
        return self._styled(f"{used:,} of {total:,} tokens", "alert" if used > 0.9 * total else "quiet")

    def _loading(self, progress: LoadProgress | None) -> Content:
        if progress is None:
            return self._styled("starting …", "live")
        stage = one_line(progress.stage)
        if not progress.total:
            return self._styled(f"{stage} …", "live")
        filled = min(BAR, BAR * progress.done // progress.total)
        return content(
            self._styled(f"{stage} ", "live"),
            self._styled("━" * filled, "live"),
            self._styled("━" * (BAR - filled), "track"),
            self._styled(f" {gigabytes(progress.done)} of {gigabytes(progress.total)}", "quiet"),
        )

    def _styled(self, text: str, part: str) -> Content:
        return Content.styled(strip_control(text), self.get_visual_style(f"status--{part}"))
