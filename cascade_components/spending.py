"""A spending limit that acts: cheaper plans near the cap, an error or the cheapest model at it."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal

_STEPS = 8
"""Pressure is told in eighths, so that the plans for it can be looked up."""


class SpendLimitError(RuntimeError):
    """The next call would go over a spending limit; nothing was asked."""


@dataclass
class Spending:
    """What one thread, or the process, has spent and may still spend for calls in flight, in USD."""

    spent: float = 0.0
    reserved: float = 0.0


@dataclass
class _Costs:
    """What a model's calls cost so far."""

    calls: int = 0
    total: float = 0.0


@dataclass(frozen=True)
class Reservation:
    """Money set aside for one call; settled once the call has ended, whatever came of it."""

    limit: SpendLimit = field(repr=False)
    model: str
    thread: str | None
    usd: float

    def settle(self, usd: float | None) -> None:
        """Pay what the call cost, in USD; None: unknown, so what was set aside counts as spent."""
        self.limit.settle(self, usd)


class SpendLimit:
    """A cap on what calls cost, shared by every cascade that is given this object. Thread-safe; kept in memory.

    Before a call its expected cost (its prompt's and an answer's of usual length) is set aside; a call that no longer
    fits is not made. So calls at the same time don't spend the same money twice; all of them together can go over the
    cap only by as much as the last calls in flight cost more than expected.

    Args:
        usd: The cap.
        per: "process": for everything; "thread": for each conversation, by `thread_id` in the call's config. Every
            conversation's account is kept until it is forgotten.
        near: Share of the cap from which on cheaper plans are preferred, the cheaper the nearer the cap.
        at_limit: At the cap, "raise" `SpendLimitError`, or let the "cheapest" model answer nevertheless.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> limit = SpendLimit(0.01)
        >>> limit.reserve("small", 0.004).settle(0.003)
        >>> limit.spent(), limit.affords("large", 0.008)
        (0.003, False)
    """

    def __init__(
        self,
        usd: float,
        *,
        per: Literal["process", "thread"] = "process",
        near: float = 0.8,
        at_limit: Literal["raise", "cheapest"] = "raise",
    ) -> None:
        allowed: list[tuple[str, Any, bool, str]] = [
            ("usd", usd, math.isfinite(usd) and usd > 0, "a positive number of USD"),
            ("per", per, per in ("process", "thread"), '"process" or "thread"'),
            ("near", near, 0 <= near <= 1, "a share of the cap, 0 to 1"),
            ("at_limit", at_limit, at_limit in ("raise", "cheapest"), '"raise" or "cheapest"'),
        ]
        for name, value, fine, wanted in allowed:
            if not fine:
                msg = f"SpendLimit: {name} must be {wanted}, found {value!r}."
                raise ValueError(msg)
        self.usd, self.per, self.near, self.at_limit = usd, per, near, at_limit
        self._lock = threading.Lock()
        self._spending: defaultdict[str | None, Spending] = defaultdict(Spending)
        self._costs: defaultdict[str, _Costs] = defaultdict(_Costs)

    def __repr__(self) -> str:
        return f"SpendLimit({self.usd:g}, per={self.per!r}, near={self.near:g}, at_limit={self.at_limit!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def spent(self, thread: str | None = None) -> float:
        """USD spent so far, by one thread where the limit is per thread."""
        with self._lock:
            return self._seen(thread).spent

    def forget(self, thread: str | None = None) -> None:
        """Start a thread's, or the process's, account anew."""
        with self._lock:
            self._spending.pop(self._key(thread), None)

    def pressure(self, thread: str | None = None) -> float:
        """How much cheaper plans are preferred: 0 below `near`, 1 at the cap, in steps between."""
        with self._lock:
            account = self._seen(thread)
            used = (account.spent + account.reserved) / self.usd
        if used < self.near or self.near == 1:
            return float(used >= 1)
        return math.ceil(min(1.0, (used - self.near) / (1 - self.near)) * _STEPS) / _STEPS

    def affords(self, model: str, expected_usd: float, thread: str | None = None) -> bool:
        """Whether a call of a model that is expected to cost this still fits."""
        with self._lock:
            return self._fits(self._seen(thread), self._expected(model, expected_usd))

    def reserve(
        self, model: str, expected_usd: float, thread: str | None = None, *, force: bool = False
    ) -> Reservation:
        """Set money aside for a call.

        Args:
            model: Name of the model; its calls' mean cost so far counts where that is more than expected.
            expected_usd: What the call will probably cost.
            thread: The conversation.
            force: Let the call be made even if it does not fit.

        Raises:
            SpendLimitError: It does not fit.
        """
        with self._lock:
            account, usd = self._of(thread), self._expected(model, expected_usd)
            if not force and not self._fits(account, usd):
                raise SpendLimitError(self._message(account, model, usd, thread))
            account.reserved += usd
        return Reservation(self, model, thread, usd)

    def settle(self, reservation: Reservation, usd: float | None) -> None:
        """Pay what a call cost, in USD; None: unknown, so what was set aside counts as spent."""
        with self._lock:
            account = self._of(reservation.thread)
            account.reserved = max(0.0, account.reserved - reservation.usd)
            account.spent += reservation.usd if usd is None else usd
            if usd:
                costs = self._costs[reservation.model]
                costs.calls, costs.total = costs.calls + 1, costs.total + usd

    def _key(self, thread: str | None) -> str | None:
        if self.per == "process":
            return None
        if thread is None:
            msg = (
                'SpendLimit(per="thread") needs to know the conversation: give the call a thread_id, '
                'config={"configurable": {"thread_id": ...}}, or limit the whole process.'
            )
            raise ValueError(msg)
        return thread

    def _of(self, thread: str | None) -> Spending:
        return self._spending[self._key(thread)]

    def _seen(self, thread: str | None) -> Spending:
        return self._spending.get(self._key(thread), Spending())

    def _fits(self, account: Spending, usd: float) -> bool:
        return account.spent + account.reserved + usd <= self.usd * (1 + 1e-9)

    def _expected(self, model: str, usd: float) -> float:
        costs = self._costs.get(model)
        return max(usd, costs.total / costs.calls) if costs else usd

    def _message(self, account: Spending, model: str, usd: float, thread: str | None) -> str:
        whose = f"thread {thread}" if self.per == "thread" else "this process"
        return (
            f"The spending limit of {whose} is reached: {account.spent:.6g} USD of {self.usd:g} are spent, "
            f"{account.reserved:.6g} set aside for calls in flight, and a call of {model} is expected to cost "
            f'{usd:.6g}. Raise the limit, start its account anew with forget(), or use at_limit="cheapest".'
        )
