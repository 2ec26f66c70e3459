"""Tokens of an answer -> text that may be shown, and the reason why it ended; by a tokenizer of transformers.

Whole characters, no half of a stop text, and no special tokens.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from llava_engine.contract import FinishReason
from llava_engine.conversation.stopping import StopMatcher

_HALF = "\ufffd"  # what half a character becomes


class AnswerText:
    """An answer as it grows.

    Args:
        tokenizer: transformers'.
        ends: ids that end an answer.
        stops: texts that end it.
        lead: what an answer begins with that is not part of it.
        room: how many tokens it may have.
        unsaid: tokens that are no text, though the tokenizer has one for them.

    Attributes:
        ids: what was generated, without the stop.
        finish: set as soon as the answer is over.
    """

    def __init__(
        self,
        tokenizer: Any,
        ends: frozenset[int],
        stops: Sequence[str],
        lead: str,
        room: int,
        unsaid: Container[int] = (),
    ) -> None:
        self.ids: list[int] = []
        self.finish: FinishReason | None = None
        self._tokenizer = tokenizer
        self._ends = ends
        self._matcher = StopMatcher(stops)
        self._lead = lead
        self._room = room
        self._unsaid = unsaid
        self._shown: list[str] = []
        # Pieces join differently than they stand alone, so a few are decoded again with each new one.
        self._kept, self._read = 0, 0

    @property
    def text(self) -> str:
        """All that was shown."""
        return "".join(self._shown)

    def push(self, token: int) -> str:
        """Take a token; the text that may be shown now."""
        if token in self._ends:
            return self.end("stop")
        self.ids.append(token)
        piece = self._show(self._matcher.push(self._decoded(whole=False)))
        if self._matcher.matched is not None:
            self.finish = "stop"
        elif len(self.ids) >= self._room:
            return piece + self.end("length")
        return piece

    def end(self, reason: FinishReason) -> str:
        """End from outside, or at a token that says so; what was held back until now."""
        self.finish = reason
        text = self._matcher.push(self._decoded(whole=True))
        if self._matcher.matched is not None:
            self.finish = "stop"
        return self._show(text + self._matcher.flush())

    def _show(self, piece: str) -> str:
        if piece:
            self._shown.append(piece)
        return piece

    def _decoded(self, *, whole: bool) -> str:
        """What the last tokens add to the text; with `whole` also half a character."""
        before, now = self._text(self.ids[self._kept : self._read]), self._text(self.ids[self._kept :])
        if not whole and now.endswith(_HALF):
            return ""
        self._kept, self._read = self._read, len(self.ids)
        new = now[len(before) :]
        if self._lead and new:
            new, self._lead = new.removeprefix(self._lead), ""
        return new

    def _text(self, ids: Sequence[int]) -> str:
        said = [one for one in ids if one not in self._unsaid]
        return str(self._tokenizer.decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False))
