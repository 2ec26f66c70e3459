"""Stop strings, matched on text that comes in pieces: no half of one is ever shown, and none leaks.

Knows no tokens: ids that end an answer are `Tokenizer.stop_ids`; this is for stops that are ordinary letters.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Pieces of text in, text that is safe to show out.

    Held back is exactly what could still begin a stop string. The stop string that is complete first wins (of two
    that end together, the longer), so the result does not depend on how the text was cut into pieces.

    Attributes:
        matched: the stop string that ended the text, or None.
    """

    def __init__(self, stops: Sequence[str], before: str = "") -> None:
        """Watch for these; empty ones are ignored.

        Args:
            stops: the stop strings.
            before: what stands before the text: a stop may begin in it, and then ends the text where that begins.
        """
        self._stops = tuple(stop for stop in stops if stop)
        self._held = before[len(before) - self._beginning(before) :]
        self._before = len(self._held)  # of what is held or comes, so many letters are not of the text
        self.matched: str | None = None

    def push(self, text: str) -> str:
        """The text that may be shown now; "" once a stop string has matched."""
        if self.matched is not None:
            return ""
        held = self._held + text
        ends = [(found + len(stop), found, stop) for stop in self._stops if (found := self._find(stop, held)) >= 0]
        if ends:
            _, start, self.matched = min(ends)
            self._held = ""
            return self._own(held[:start])
        keep = self._beginning(held)
        self._held = held[len(held) - keep :]
        return self._own(held[: len(held) - keep])

    def flush(self) -> str:
        """What was held back, when nothing more will come."""
        held, self._held = self._held, ""
        return self._own(held)

    def _beginning(self, text: str) -> int:
        """How many characters at the end of a text may begin a stop string."""
        return max((_overlap(text, stop) for stop in self._stops), default=0)

    def _find(self, stop: str, text: str) -> int:
        """Where a stop string is that ends behind what stood there before; -1 for nowhere."""
        return text.find(stop, max(0, self._before - len(stop) + 1))

    def _own(self, text: str) -> str:
        """Without what stood there before."""
        skipped = min(self._before, len(text))
        self._before -= skipped
        return text[skipped:]


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`, without being all of it."""
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
