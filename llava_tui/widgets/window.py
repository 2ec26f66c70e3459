"""Which turns of a long chat are mounted: a window over the list of those that are known. Plain data.

Every mounted turn costs time at each change of focus and size, so there are `CAP` at most, however long the chat is.
"""

from __future__ import annotations

from dataclasses import dataclass

CAP = 40
"""Turns that are mounted at most."""

OPENED = 12
"""Turns that are mounted when a chat is opened: about a screen; more come when they do not fill it."""

STEP = 10
"""Turns that come in at one end at a time."""


@dataclass(frozen=True)
class Window:
    """The turns from `first` up to, not including, `last`."""

    first: int
    last: int

    @classmethod
    def at_end(cls, total: int) -> Window:
        """The last turns of `total`."""
        return cls(max(0, total - OPENED), total)

    def earlier(self) -> Window:
        """A step towards the first turn; turns at the other end leave."""
        first = max(0, self.first - STEP)
        return Window(first, min(self.last, first + CAP))

    def later(self, total: int) -> Window:
        """A step towards the last of `total` turns; turns at the other end leave."""
        last = min(total, self.last + STEP)
        return Window(max(self.first, last - CAP), last)

    def shifted(self, by: int) -> Window:
        """The same turns, after `by` older ones became known before them."""
        return Window(self.first + by, self.last + by)
