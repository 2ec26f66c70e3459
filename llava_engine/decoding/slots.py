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

        The free one that shares most with it, where that is most of what it holds: the conversation goes on. Else the
        one that was used longest ago, so that conversations which only begin alike do not push each other out; it gets
        a copy of what any cache shares, if that is much more.
        """
        shared = {cache: cache.shared(prompt) for cache in (*self._free, *self._taken)}
        goes_on = [cache for cache in self._free if 2 * shared[cache] >= len(cache.held) > 0]
        cache = max(goes_on, key=shared.__getitem__) if goes_on else self._free[0]
        source = max(shared, key=shared.__getitem__)
        if shared[source] >= shared[cache] + WORTH_COPYING:
            cache = self._free[0]
        else:
            source = cache
        if cache is source:
            cache.crop(shared[cache])
        else:
            cache.copy(source, shared[source])
        self._free.remove(cache)
        self._taken.append(cache)
        return cache

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
