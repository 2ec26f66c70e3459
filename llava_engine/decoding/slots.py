"""Slots: the caches of a model, lent to rows so that each finds as much of its prompt read as any cache holds.

Knows identities of positions only: no text, no model, no threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llava_engine.decoding.cache import Identity, KeyValueCache

WORTH_COPYING = 64
"""Positions. Copying so many keys and values takes a thousandth of the time that reading them takes."""


class Slots:
    """As many caches as rows may run at once."""

    def __init__(self, empty: Callable[[], KeyValueCache], count: int) -> None:
        """Make them.

        Args:
            empty: makes an empty cache.
            count: how many.
        """
        self._empty = empty
        self._free = [empty() for _ in range(count)]  # the one that was used longest ago first
        self._taken: list[KeyValueCache] = []

    def __len__(self) -> int:
        return len(self._free) + len(self._taken)

    @property
    def free(self) -> int:
        """How many nobody uses."""
        return len(self._free)

    def take(self, prompt: Sequence[Identity]) -> KeyValueCache:
        """A free cache that holds a beginning of this prompt, as long a one as there is, and nothing else.

        The free one that shares most with it; among equals the one that was used longest ago, which also takes a copy
        where one that is in use shares much more.
        """
        free = {id(cache): cache.shared(prompt) for cache in self._free}
        best = max(self._free, key=lambda cache: free[id(cache)])  # the first of equals
        most = max(((cache.shared(prompt), cache) for cache in self._taken), key=lambda one: one[0], default=None)
        if most is not None and most[0] >= free[id(best)] + WORTH_COPYING:
            best = self._free[0]
            best.copy(most[1], most[0])
        else:
            best.crop(free[id(best)])
        self._free.remove(best)
        self._taken.append(best)
        return best

    def give_back(self, cache: KeyValueCache) -> None:
        """Nobody uses it now; what it holds stays."""
        self._taken.remove(cache)
        self._free.append(cache)

    def drop(self, cache: KeyValueCache) -> None:
        """Nobody uses it now, and what it holds is freed."""
        self._taken.remove(cache)
        self._free.insert(0, self._empty())

    def renew(self) -> None:
        """Free all, and begin anew."""
        self._free = [self._empty() for _ in range(len(self))]
        self._taken = []

    def forget(self) -> None:
        """Free what is kept for nobody in particular."""
        self._free = [self._empty() for _ in self._free]
