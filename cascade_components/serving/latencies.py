"""How long each model's latest answers took."""

from __future__ import annotations

import math
from collections import deque
from threading import Lock

_KEPT = 128
_ENOUGH = 20
"""From so many on, their 95th percentile is not just their maximum."""


class Latencies:
    """Times of each model's latest whole answers, in seconds; a fixed number of them. Thread-safe.

    Example:
        >>> latencies = Latencies()
        >>> for seconds in range(1, 101):
        ...     latencies.add("small", seconds)
        >>> latencies.p95("small"), latencies.p95("large")
        (95, None)
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._latest: dict[str, deque[float]] = {}

    def add(self, model: str, seconds: float) -> None:
        """Keep one.

        A call that was given up took at least this long: kept, too. Else a model that is hedged would seem the faster
        the more often it is given up.
        """
        with self._lock:
            self._latest.setdefault(model, deque(maxlen=_KEPT)).append(seconds)

    def p95(self, model: str) -> float | None:
        """The time that 95 of 100 answers don't exceed, in seconds; None while too few are known."""
        with self._lock:
            found = sorted(self._latest.get(model, ()))
        return found[math.ceil(0.95 * len(found)) - 1] if len(found) >= _ENOUGH else None
