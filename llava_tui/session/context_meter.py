"""How many tokens the shown branch takes, counted on the engine's thread; an older count never replaces a newer one.

Knows neither turns nor screens.
"""

from __future__ import annotations

from collections.abc import Callable

from llava_engine.contract import Reply, TokenCount
from llava_engine.errors import LlavaError


class ContextMeter:
    """The latest count.

    Args:
        submit: runs a function on the engine's thread.
        later: runs a function on the session's thread.
    """

    def __init__(
        self, submit: Callable[[Callable[[], None]], None], later: Callable[[Callable[[], None]], None]
    ) -> None:
        self._submit = submit
        self._later = later
        self._asked = 0
        self.count: TokenCount | None = None

    def empty(self) -> None:
        """Nothing is known."""
        self._asked += 1
        self.count = None

    def ask(self, count: Callable[[], TokenCount | None]) -> None:
        """Count in the background; nothing is known until then. What fails leaves it so: nobody asked for an answer."""
        self.empty()
        asked = self._asked

        def job() -> None:
            if asked == self._asked:
                try:
                    counted = count()
                except LlavaError:
                    return
                if counted is not None:
                    known = counted
                    self._later(lambda: self._note(asked, known))

        self._submit(job)

    def expect(self, *, keep: bool = False) -> Callable[[TokenCount], None]:
        """For a count that comes with other work on another thread; until then nothing is known, or `keep` what was."""
        last = self.count if keep and self.count and self.count.total else None  # of an empty chat nothing is known
        self.empty()
        self.count = last
        asked = self._asked
        return lambda counted: self._later(lambda: self._note(asked, counted))

    def recall(self, used: TokenCount | None) -> None:
        """What an answer took when it was given, where nobody can count now."""
        self.empty()
        self.count = used

    def settle(self, reply: Reply) -> None:
        """The engine said what the branch takes, the answer included; one that is elsewhere may not say it."""
        self.empty()
        if not reply.prompt_tokens:
            return
        self.count = TokenCount(reply.prompt_tokens + reply.completion_tokens, reply.picture_tokens)

    def _note(self, asked: int, counted: TokenCount) -> None:
        if asked == self._asked:
            self.count = counted
