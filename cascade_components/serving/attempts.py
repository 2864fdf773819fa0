"""The passes of one call: when they began, what became of them, and what the cascade learns from that."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cascade_components.serving.account import Account, Usage
from cascade_components.serving.faults import may_pass, retry_after_s
from cascade_components.serving.reach import Reach
from cascade_components.serving.setup import Serving


@dataclass(frozen=True)
class Pass:
    """One wrapped model's answer."""

    model: str
    answer: Any
    """What the adapter made of it."""
    reason: str
    """Why this model was asked."""
    usage: Mapping[str, Any] | None
    """Tokens in the framework's words; None: the model did not tell."""
    latency_ms: float
    cost_usd: float | None
    cancelled: bool = False
    """Another model answered before: there is no answer, and the cost is what one is expected to cost."""

    def to_dict(self) -> dict[str, Any]:
        """The pass as plain data, without the answer: a rejected one stays out of the final message."""
        return {
            "model": self.model,
            "reason": self.reason,
            "usage": self.usage,
            "cost_usd": self.cost_usd,
            "latency_ms": round(self.latency_ms, 3),
            **({"cancelled": True} if self.cancelled else {}),
        }


@dataclass(frozen=True)
class _Open:
    """A pass that runs."""

    reason: str
    started: float
    mark: int
    """Where the model's circuit was."""
    trial: bool
    whole: bool
    """Whether its answer comes at once, so that its time can be compared."""


class Attempts:
    """The passes of one call, each by the name of its model: no model has two at a time."""

    def __init__(self, serving: Serving, account: Account, reach: Reach) -> None:
        self.answered: list[Pass] = []
        self.cancelled: list[Pass] = []
        self._settings, self._health, self._retrying = serving.resilience, serving.health, serving.retrying
        self._account = account
        self._reach = reach
        self._open: dict[str, _Open] = {}
        self._retries: Counter[str] = Counter()
        self._prompt_tokens: int | None = None

    @property
    def running(self) -> frozenset[str]:
        """Models that are being asked."""
        return frozenset(self._open)

    def open(self, model: str, reason: str, *, whole: bool) -> None:
        """A pass begins.

        Raises:
            SpendLimitError: The call would go over the limit.
        """
        self._account.reserve(model)
        mark, trial = self._health.circuits.mark(model), self._reach.try_it(model)
        self._open[model] = _Open(reason, time.perf_counter(), mark, trial, whole)

    def answer(self, model: str, answer: Any, usage: Usage | None, told: Mapping[str, Any] | None) -> None:
        """The model answered."""
        one, seconds = self._end(model)
        self._health.circuits.answered(model, one.mark)
        if one.whole:
            self._health.latencies.add(model, seconds)
        if usage is not None:
            self._prompt_tokens = usage.input_tokens
        cost = self._account.pay(model, usage)
        self.answered.append(Pass(model, answer, one.reason, told, seconds * 1000, cost))

    def fail(self, model: str, error: Exception) -> None:
        """The model raised an error: it costs nothing."""
        if model not in self._open:
            return  # it was not even asked
        one, _ = self._end(model)
        self._account.close(model, 0.0)
        self._health.circuits.failed(model, error, self._settings, asked_at=one.mark, trial=one.trial)

    def cancel(self, model: str) -> None:
        """Another model has answered: nobody knows what this pass costs, and what is expected counts."""
        one, seconds = self._give_up(model)
        if one.whole:
            self._health.latencies.add(model, seconds)
        cost = self._account.expected(model, self._prompt_tokens)
        self.cancelled.append(Pass(model, None, one.reason, None, seconds * 1000, cost, cancelled=True))

    def abandon(self) -> None:
        """The caller gave the call up: what its open passes cost, nobody knows."""
        for model in self.running:
            self._give_up(model)

    def retry_in_s(self, model: str, error: Exception) -> float | None:
        """How long to wait, in seconds, before the model is asked again; None: it is not worth it."""
        settings, tried = self._settings, self._retries[model]
        if tried >= settings.retries or model in self._retrying or not may_pass(error):
            return None
        asked_for = retry_after_s(error) or 0.0
        if asked_for > settings.retry_wait_most:
            return None
        return max(asked_for, self._health.jitter() * min(settings.retry_wait_most, settings.retry_wait * 2.0**tried))

    def count_retry(self, model: str) -> None:
        """The model is asked again."""
        self._retries[model] += 1

    def to_dict(self) -> dict[str, Any]:
        """The passes as plain data, and what they cost together in USD; None where that is not known of all."""
        passes = [*self.answered, *self.cancelled]
        costs = [one.cost_usd for one in passes]
        known = [cost for cost in costs if cost is not None]
        return {
            "cost_usd": sum(known) if len(known) == len(costs) else None,
            "passes": [one.to_dict() for one in passes],
        }

    def _give_up(self, model: str) -> tuple[_Open, float]:
        one, seconds = self._end(model)
        self._account.close(model, None)
        if one.trial:
            self._health.circuits.give_up_trial(model)
        return one, seconds

    def _end(self, model: str) -> tuple[_Open, float]:
        one = self._open.pop(model)
        self._reach.ended(model)
        return one, time.perf_counter() - one.started
