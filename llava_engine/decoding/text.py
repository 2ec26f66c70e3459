"""Generated ids -> text that is safe to show (whole characters, no half of a stop string), and where an answer ends.

Knows no conversations, templates or files, and no model.
"""

from __future__ import annotations

from collections.abc import Sequence

from llava_engine.contract import FinishReason
from llava_engine.conversation.stopping import StopMatcher
from llava_engine.conversation.tokenizer import Detokenizer, Tokenizer


class AnswerText:
    """Generated ids -> text to show, and the reason why it ended.

    Attributes:
        ids: what was generated, without the stop.
        finish: set as soon as the answer is over.
    """

    def __init__(
        self, tokenizer: Tokenizer, stops: Sequence[str], lead: str, max_new_tokens: int, begun: str = ""
    ) -> None:
        """Begin an answer.

        Args:
            tokenizer: whose ids they are.
            stops: the texts that end it.
            lead: the template's `answer_lead`.
            max_new_tokens: it ends here at the latest.
            begun: the text after which it goes on, which is no part of it; a stop may begin in it all the same.
        """
        self.ids: list[int] = []
        self.finish: FinishReason | None = None
        self._max_new_tokens = max_new_tokens
        self._stop_ids = tokenizer.stop_ids(stops)
        self._stop_texts = {tokenizer.special_ids[stop]: stop for stop in stops if stop in tokenizer.special_ids}
        self._detokenizer = Detokenizer(tokenizer, lead=None if begun else lead)
        self._matcher = StopMatcher(stops, begun)
        self._shown: list[str] = []

    @property
    def text(self) -> str:
        """All that was shown."""
        return "".join(self._shown)

    def push(self, token: int) -> str:
        """Take a token; the text that may be shown now."""
        if token in self._stop_ids:
            self.finish = "stop"
            # Its text too, for a stop that begins before it: Llama 2's " </s>".
            last = self._detokenizer.flush() + self._stop_texts.get(token, "")
            return self._show(self._matcher.push(last) + self._matcher.flush())
        self.ids.append(token)
        piece = self._matcher.push(self._detokenizer.push(token))
        if self._matcher.matched is not None:
            self.finish = "stop"
        elif len(self.ids) >= self._max_new_tokens:
            return self._show(piece) + self.end("length")
        return self._show(piece)

    def end(self, reason: FinishReason) -> str:
        """End from outside (cancelled, or no more room); what was held back until now."""
        self.finish = reason
        return self._show(self._matcher.push(self._detokenizer.flush()) + self._matcher.flush())

    def _show(self, piece: str) -> str:
        if piece:
            self._shown.append(piece)
        return piece
