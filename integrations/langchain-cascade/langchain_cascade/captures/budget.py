"""A spending cap that calls under way cannot jump over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

from langchain_cascade.captures.member import Member

_UNKNOWN_ANSWER = 1024
"""Output tokens expected of a model without a `max_tokens` that has not answered yet."""

_WAIT_S = 0.02


class CapReachedError(RuntimeError):
    """One more call might cost more than is left."""


class Budget:
    """What was spent and what the calls under way may cost; safe to use from many threads.

    A call is expected to cost its prompt (three characters a token) and the longest answer that the model may give, or
    has given where no `max_tokens` is set: only such a model can exceed the cap, by what its answers grow.

    Args:
        cap: USD in all, earlier runs included; None: no cap.
        spent: USD of earlier runs.
    """

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        self.cap = cap
        self.spent = spent
        self._reserved, self._under_way = 0.0, 0
        self._longest: dict[str, int] = {}
        self._lock = threading.Lock()

    @classmethod
    def over(
        cls, cap: float | None, members: Iterable[Member], tokens: Iterable[tuple[str, int, int, int, int]]
    ) -> Budget:
        """With what earlier calls cost, at today's prices.

        Raises:
            ValueError: There is a cap, and a model without a price.
        """
        known = {member.name: member for member in members}
        unpriced = sorted(name for name, member in known.items() if member.price is None)
        if cap is not None and unpriced:
            msg = f"--max-cost needs the price of every model; {', '.join(unpriced)} has none in the pool file."
            raise ValueError(msg)
        spent = 0.0
        for name, given, made, read, creation in tokens:
            if name in known and (price := known[name].price) is not None:
                spent += price.cost_usd(given, made, cache_read=read, cache_creation=creation)
        return cls(cap, spent)

    @asynccontextmanager
    async def reserved(self, member: Member, characters: int) -> AsyncIterator[None]:
        """Room for one call; waits for calls under way where they may yet leave some.

        Raises:
            CapReachedError: There is none, and none will be.
        """
        expected = self._expected(member, characters)
        while not self.take(expected):  # noqa: ASYNC110 - threads give back, too
            await asyncio.sleep(_WAIT_S)
        try:
            yield
        finally:
            self.give_back(expected)

    @contextmanager
    def reserved_now(self, member: Member, characters: int) -> Iterator[None]:
        """Room for one call at once.

        Raises:
            CapReachedError: There is none now.
        """
        expected = self._expected(member, characters)
        if not self.take(expected):
            raise CapReachedError(self._told())
        try:
            yield
        finally:
            self.give_back(expected)

    def pay(self, member: Member, cost: float | None, output_tokens: int | None) -> None:
        """Count what a call cost."""
        with self._lock:
            self.spent += cost or 0.0
            self._longest[member.name] = max(self._longest.get(member.name, 0), output_tokens or 0)

    def _expected(self, member: Member, characters: int) -> float:
        if member.price is None:
            return 0.0
        answer = member.longest_answer or max(self._longest.get(member.name, 0), _UNKNOWN_ANSWER)
        return member.price.cost_usd(characters // 3 + 16, answer)

    def take(self, expected: float) -> bool:
        """Reserve an amount; False: not now, but perhaps when calls under way have ended.

        Raises:
            CapReachedError: There is no room, and none will be.
        """
        with self._lock:
            if self.cap is None or self.spent + self._reserved + expected <= self.cap:
                self._reserved, self._under_way = self._reserved + expected, self._under_way + 1
                return True
            if self.spent + expected > self.cap or not self._under_way:
                raise CapReachedError(self._told())
            return False

    def give_back(self, expected: float) -> None:
        """End a reservation."""
        with self._lock:
            self._reserved, self._under_way = self._reserved - expected, self._under_way - 1

    def _told(self) -> str:
        return f"the spending cap of {self.cap:g} USD is reached: {self.spent:.6g} USD are spent"
