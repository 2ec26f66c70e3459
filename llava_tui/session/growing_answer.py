"""One answer while it is written: its text as it may be shown, when to save it, how it ended, how fast it came.

Between the token pump and the session; it knows no store and no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llava_engine.contract import Progress, Reply
from llava_engine.errors import BusyError, EngineAwayError
from llava_engine.terminal_safe import ControlStripper, strip_control
from llava_tui.history.turns import Turn, TurnStatus
from llava_tui.session.progress_words import QUIET_S
from llava_tui.session.token_pump import TokenPump

SAVE_EVERY_S = 1.0
"""What a killed process may lose of a growing answer, in seconds."""


class GrowingAnswer:
    """An answer on its way.

    Args:
        turn: the empty turn that it fills.
        stream: yields pieces, then one Reply; see `TokenPump`.
        submit: runs a function on the engine's thread.
        clock: seconds, monotonic.
        model: who answers, as the history keeps it.

    Attributes:
        pump: where it comes from.
        text: what was taken so far, stripped of control sequences; all of the reply once it has ended.
        ended: nothing will follow.
        reply: the engine's, once it has ended; None when it failed, or was stopped before it began.
        error: what ended it instead.
        abandoned: its chat is gone; nothing more of it is to be kept or shown.
    """

    def __init__(
        self,
        turn: Turn,
        stream: Callable[[Callable[[], bool]], Iterator[str | Progress | Reply]],
        submit: Callable[[Callable[[], None]], None],
        clock: Callable[[], float],
        model: str = "",
    ) -> None:
        self.turn = turn
        self.model = model
        self.pump = TokenPump(stream, submit, clock)
        self.text = ""
        self.ended = False
        self.reply: Reply | None = None
        self.error: BaseException | None = None
        self.abandoned = False
        self._clock = clock
        self._stripper = ControlStripper()
        self._saved_at = clock()
        self._saved_length = 0

    def take(self) -> str:
        """The text that came since the last call."""
        batch = self.pump.take()
        grown = self._stripper.push(batch.text)
        self.text += grown
        if batch.done and not self.ended:
            self.ended, self.reply, self.error = True, batch.reply, batch.error
            if batch.reply is not None:
                self.text = strip_control(batch.reply.text)
        return grown

    @property
    def due(self) -> bool:
        """Whether it is time to save a growing answer."""
        grown = len(self.text) > self._saved_length
        return grown and not self.ended and self._clock() - self._saved_at >= SAVE_EVERY_S

    def saved(self) -> None:
        """It was just saved."""
        self._saved_at = self._clock()
        self._saved_length = len(self.text)

    @property
    def progress(self) -> Progress | None:
        """How far it is before its first word, once that takes a while; None otherwise."""
        return self.pump.progress if not self.ended and self.pump.waited_s >= QUIET_S else None

    @property
    def status(self) -> TurnStatus:
        """How it ended."""
        if isinstance(self.error, (BusyError, EngineAwayError)):
            return "interrupted"  # the question is as good as before
        if self.error is not None:
            return "failed"
        return "complete" if self.reply is not None and self.reply.finish_reason != "cancelled" else "cancelled"

    @property
    def tokens_per_second(self) -> float | None:
        """The engine's own figure once it has ended, the pump's until then."""
        return self.pump.pieces_per_second if self.reply is None else self.reply.tokens_per_second

    @property
    def time_to_first_token_s(self) -> float | None:
        """The engine's own figure once it has ended, the pump's until then."""
        return self.pump.time_to_first_piece_s if self.reply is None else self.reply.time_to_first_token_s
