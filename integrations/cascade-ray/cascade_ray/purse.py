"""A spending cap that all workers share."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from langchain_cascade.captures.budget import Budget, CapReachedError
from langchain_cascade.captures.member import Member


class Purse:
    """An actor that holds the one budget; workers reserve and pay through a `SharedBudget`.

    Args:
        cap: USD in all.
        spent: USD of earlier runs.
    """

    def __init__(self, cap: float, spent: float) -> None:
        self._budget = Budget(cap, spent)
        self._reserved: dict[int, list[float]] = defaultdict(list)

    def opened(self, part: int) -> None:
        """A worker begins a part. What its last worker had reserved when it died may have been paid for: it counts."""
        for expected in self._reserved.pop(part, []):
            self._budget.spent += expected
            self._budget.give_back(expected)

    def take(self, part: int, expected: float) -> bool | str:
        """Reserve an amount; False: not now; a text: there is no room, and none will be."""
        try:
            taken = self._budget.take(expected)
        except CapReachedError as reached:
            return str(reached)
        if taken:
            self._reserved[part].append(expected)
        return taken

    def give_back(self, part: int, expected: float) -> None:
        """End a reservation."""
        self._reserved[part].remove(expected)
        self._budget.give_back(expected)

    def pay(self, cost: float) -> None:
        """Count what a call cost."""
        self._budget.spent += cost


class SharedBudget(Budget):
    """A worker's view of the purse, while it works at a part.

    Args:
        cap: USD in all.
        purse: Handle of the actor.
        part: What it works at.
    """

    def __init__(self, cap: float, purse: Any, part: int) -> None:
        super().__init__(cap)
        self._purse, self._part = purse, part
        self._ask("opened", part)

    def take(self, expected: float) -> bool:
        """Reserve an amount; False: not now.

        Raises:
            CapReachedError: There is no room, and none will be.
        """
        found = self._ask("take", self._part, expected)
        if isinstance(found, str):
            raise CapReachedError(found)
        return bool(found)

    def give_back(self, expected: float) -> None:
        """End a reservation."""
        self._purse.give_back.remote(self._part, expected)

    def pay(self, member: Member, cost: float | None, output_tokens: int | None) -> None:
        """Count what a call cost."""
        super().pay(member, cost, output_tokens)
        self._purse.pay.remote(cost or 0.0)

    def _ask(self, method: str, *arguments: Any) -> Any:
        import ray

        return ray.get(getattr(self._purse, method).remote(*arguments))
