"""Who waits in line for an encoder, and how many of them the next batch takes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

MOST_TEXTS = 64
"""Texts of a batch of several calls."""

MOST_CHARACTERS = 64_000
"""Characters of a batch of several calls: who comes while it runs waits no longer than it takes."""

LONGEST_WAIT_S = 0.002
"""How long a batch waits for callers of the last one, who mostly come again at once."""

FEW = 4
"""Calls of a batch below which the next one waits for nobody."""


class Waiting(Protocol):
    """A call's texts."""

    @property
    def texts(self) -> list[str]:
        """To be encoded."""
        ...


_W = TypeVar("_W", bound=Waiting)


class Line(Generic[_W]):
    """A bounded batch at a time, first come, first served. Every method is called with `lock` held.

    Only under load, after a batch of several calls, does the next one wait for as many to come again, 2 ms at most.

    Args:
        lock: Of whoever serves the line.
        most_texts: Texts of a batch. A call with more has a batch of its own.
        most_characters: Characters of a batch, likewise.
    """

    def __init__(
        self, lock: threading.Lock, most_texts: int = MOST_TEXTS, most_characters: int = MOST_CHARACTERS
    ) -> None:
        self._waiting: deque[_W] = deque()
        self._company = threading.Condition(lock)
        self._most_texts = most_texts
        self._most_characters = most_characters
        self._expected = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, one: _W) -> None:
        """Wait at the end of the line."""
        self._waiting.append(one)
        if len(self._waiting) >= self._expected:
            self._company.notify()

    def leave(self, one: _W) -> None:
        """Wait no longer, wherever in the line."""
        if one in self._waiting:
            self._waiting.remove(one)

    def put_back(self, some: Iterable[_W]) -> None:
        """These were taken, and not served: they are first in line again, in their order."""
        self._waiting.extendleft(reversed(list(some)))

    def take(self) -> list[_W]:
        """Wait for company where some is expected, and take the next batch; empty where nobody came."""
        until = time.monotonic() + LONGEST_WAIT_S
        while len(self._waiting) < min(self._expected, self._most_texts):
            if not self._company.wait(until - time.monotonic()):
                break
        batch: list[_W] = []
        texts = characters = 0
        while self._waiting:
            texts += len(self._waiting[0].texts)
            characters += sum(map(len, self._waiting[0].texts))
            if batch and (texts > self._most_texts or characters > self._most_characters):
                break
            batch.append(self._waiting.popleft())
        return batch

    def served(self, batch: list[_W]) -> None:
        """A batch has been served: after several calls, as many are expected again."""
        self._expected = len(batch) + len(self._waiting) if len(batch) >= FEW else 0
