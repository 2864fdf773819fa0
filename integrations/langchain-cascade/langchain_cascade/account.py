"""The money of one call: what is set aside before a pass, and what is paid after it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from langchain_core.messages.ai import UsageMetadata

from cascade_components.pricing import TokenPrice
from cascade_components.spending import Reservation, SpendLimit
from langchain_cascade.capabilities import prompt_tokens
from langchain_cascade.passes import cost_of
from langchain_cascade.pool import ServablePolicy
from langchain_cascade.request import Request


class Account:
    """Counts what one call costs, within a spending limit where there is one."""

    def __init__(
        self, policy: ServablePolicy, prices: Mapping[str, TokenPrice], limit: SpendLimit | None, request: Request
    ) -> None:
        self.at_limit = False
        """Nothing more fits; the cheapest model answers nevertheless."""
        self._policy = policy
        self._prices = prices
        self._limit = limit
        self._thread = request.thread
        self._open: Reservation | None = None
        self._cheapest: str | None = None
        self._expected: dict[str, float] = {}
        if limit is not None:
            longest = request.kwargs.get("max_tokens")
            prompt = prompt_tokens(request.messages, request.tools)
            self._expected = {name: self._expect(name, prompt, longest) for name in policy.models}

    def affordable(self, models: Collection[str]) -> frozenset[str]:
        """The models that can be asked within the limit; where that is none, the cheapest if the limit allows it.

        Raises:
            SpendLimitError: None can be asked.
        """
        found = self.payable(models)
        if self._limit is None or (found and self._limit.at_limit == "raise"):
            return found
        self._cheapest = min(sorted(models), key=self._expected.__getitem__)
        self.at_limit = not found
        if not found:
            self.reserve(self._cheapest)
            self.close(0.0)
        return found | {self._cheapest}

    def payable(self, models: Collection[str]) -> frozenset[str]:
        """The models of which one more call fits into the limit."""
        if self._limit is None:
            return frozenset(models)
        return frozenset(name for name in models if self._limit.affords(name, self._expected[name], self._thread))

    def reserve(self, model: str) -> None:
        """Set aside what a pass of this model is expected to cost.

        Raises:
            SpendLimitError: It does not fit.
        """
        if self._limit is not None:
            force = self._limit.at_limit == "cheapest" and model == self._cheapest
            self._open = self._limit.reserve(model, self._expected[model], self._thread, force=force)

    def pay(self, model: str, usage: UsageMetadata | None) -> float | None:
        """What a pass cost, in USD; None where it is unknown."""
        cost = cost_of(usage, model, self._policy, self._prices.get(model))
        self.close(cost)
        return cost

    def close(self, usd: float | None) -> None:
        """End the open pass, which cost this; None: nobody knows."""
        if self._open is not None:
            self._open.settle(usd)
            self._open = None

    def _expect(self, model: str, prompt: int, longest: int | None) -> float:
        known = [tokens for tokens in (self._policy.expected_output_tokens(model), longest) if tokens is not None]
        usage = UsageMetadata(input_tokens=prompt, output_tokens=round(min(known, default=0)), total_tokens=0)
        return cost_of(usage, model, self._policy, self._prices.get(model)) or 0.0
