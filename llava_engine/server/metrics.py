"""What the server has done, as text that Prometheus reads (its exposition format 0.0.4). Any thread may count."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FIRST = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)
_BETWEEN = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Histogram:
    """How often a number of seconds was at most so much.

    Args:
        bounds: in seconds, ascending.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        """Count one."""
        with self._lock:
            self._counts[bisect_left(self._bounds, seconds)] += 1
            self._sum += seconds

    def lines(self, name: str) -> Iterator[str]:
        """As Prometheus reads it."""
        with self._lock:
            counts, seconds = tuple(self._counts), self._sum
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {seconds:.6f}"
        yield f"{name}_count {total}"


class Metrics:
    """Counts of one server.

    Attributes:
        first_token: seconds from a request to its first text.
        between: seconds between pieces of text.
    """

    def __init__(self) -> None:
        self.first_token = Histogram(_FIRST)
        self.between = Histogram(_BETWEEN)
        self._requests: defaultdict[int, int] = defaultdict(int)
        self._ended: defaultdict[str, int] = defaultdict(int)
        self._sums: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    def requested(self, status: int) -> None:
        """A request was answered so."""
        with self._lock:
            self._requests[status] += 1

    def ended(self, reason: str, **counts: int) -> None:
        """An answer ended.

        Args:
            reason: "stop", "length", "cancelled" or "failed".
            **counts: of its tokens, by name.
        """
        with self._lock:
            self._ended[reason] += 1
            for name, count in counts.items():
                self._sums[name] += count

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """All of it.

        Args:
            gauges: what is true now: name -> (what it is, how much).
        """
        with self._lock:
            return "\n".join(self._lines(gauges)) + "\n"

    def _lines(self, gauges: Mapping[str, tuple[str, float]]) -> Iterator[str]:
        for name, (about, value) in gauges.items():
            yield from _head(f"llava_{name}", "gauge", about)
            yield f"llava_{name} {value}"
        yield from _head("llava_requests_total", "counter", "Requests by status; 499 is a client that left.")
        yield from (f'llava_requests_total{{status="{status}"}} {n}' for status, n in sorted(self._requests.items()))
        yield from _head("llava_answers_total", "counter", "Answers by why they ended.")
        yield from (f'llava_answers_total{{reason="{reason}"}} {n}' for reason, n in sorted(self._ended.items()))
        for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "pictures"):
            yield from _head(f"llava_{name}_total", "counter", f"{name.replace('_', ' ').capitalize()} of all answers.")
            yield f"llava_{name}_total {self._sums[name]}"
        yield from _head("llava_first_token_seconds", "histogram", "From a request to its first text.")
        yield from self.first_token.lines("llava_first_token_seconds")
        yield from _head("llava_between_tokens_seconds", "histogram", "Between pieces of text.")
        yield from self.between.lines("llava_between_tokens_seconds")


def _head(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}"
