"""The money of one call: what is set aside before a pass, and what is paid after it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cascade_components.pricing import TokenPrice
from cascade_components.serving.servable import ServablePolicy
from cascade_components.spending import Reservation, SpendLimit


@dataclass(frozen=True)
class Usage:
    """Tokens of one wrapped call."""

    input_tokens: int
    output_tokens: int
    cache_read: int = 0
    """Input tokens that the provider had in its prompt cache."""
    cache_creation: int = 0
    """Input tokens that it put there."""
    free: bool = False
    """No provider was asked: a cache of answers had it."""


class Account:
    """Counts what one call costs, within a spending limit where there is one.

    Args:
        policy: Says what a model's tokens cost where `prices` doesn't, and how long its answers are.
        prices: The user's own.
        limit: The spending limit.
        thread: The conversation that pays.
        prompt_tokens: About how long the prompt is.
        max_tokens: How long an answer can get, if that is limited.
    """

    def __init__(
        self,
        policy: ServablePolicy,
        prices: Mapping[str, TokenPrice],
        limit: SpendLimit | None,
        *,
        thread: str | None,
        prompt_tokens: int,
        max_tokens: int | None,
    ) -> None:
        self.at_limit = False
        """Nothing more fits; the cheapest model answers nevertheless."""
        self._policy = policy
        self._prices = prices
        self._limit = limit
        self._thread = thread
        self._prompt_tokens = prompt_tokens
        self._max_tokens = max_tokens
        self._open: dict[str, Reservation] = {}
        self._cheapest: str | None = None
        self._expected: dict[str, float] = {}
        if limit is not None:
            self._expected = {name: self._expect(name, prompt_tokens) or 0.0 for name in policy.models}

    def affordable(self, models: Collection[str]) -> frozenset[str]:
        """The models that can be asked within the limit; where that is none, the cheapest if the limit allows it.

        Raises:
            SpendLimitError: None can be asked.
        """
        found = self.payable(models)
        if self._limit is None or (found and self._limit.at_limit == "raise"):
            return found
        self._cheapest = self._cheapest_of(models)
        self.at_limit = not found
        if not found:
            self.reserve(self._cheapest)
            self.close(self._cheapest, 0.0)
        return found | {self._cheapest}

    def or_cheapest(self, model: str) -> str:
        """A model that is asked by name; where it does not fit, the cheapest if the limit allows it."""
        asked = frozenset({model}) & self._expected.keys()  # a name that nobody has is an error elsewhere
        if self._limit is None or self._limit.at_limit == "raise" or self.payable(asked) == asked:
            return model
        self._cheapest = self._cheapest_of(self._policy.models)
        self.at_limit = True
        return self._cheapest

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
            self._open[model] = self._limit.reserve(model, self._expected[model], self._thread, force=force)

    def pay(self, model: str, usage: Usage | None) -> float | None:
        """What a pass cost, in USD; None where its usage or its price is unknown."""
        cost = self._cost(model, usage)
        self.close(model, cost)
        return cost

    def close(self, model: str, usd: float | None) -> None:
        """End the open pass of a model, which cost this; None: nobody knows."""
        if (reserved := self._open.pop(model, None)) is not None:
            reserved.settle(usd)

    def _cheapest_of(self, models: Collection[str]) -> str:
        return min(sorted(models), key=self._expected.__getitem__)

    def expected(self, model: str, prompt_tokens: int | None) -> float | None:
        """What a pass of a model probably costs, in USD; None where nobody knows.

        Args:
            model: Its name.
            prompt_tokens: How long the prompt is, where another model has counted it.
        """
        known = prompt_tokens or self._prompt_tokens
        return self._expect(model, known) if known else None

    def _cost(self, model: str, usage: Usage | None) -> float | None:
        if usage is None or usage.free:
            return None if usage is None else 0.0
        price = self._prices.get(model)
        if price is None:
            return self._policy.cost_usd(model, usage.input_tokens, usage.output_tokens)
        return price.cost_usd(
            usage.input_tokens, usage.output_tokens, cache_read=usage.cache_read, cache_creation=usage.cache_creation
        )

    def _expect(self, model: str, prompt: int) -> float | None:
        lengths = (self._policy.expected_output_tokens(model), self._max_tokens)
        known = [tokens for tokens in lengths if tokens is not None]
        return self._cost(model, Usage(prompt, round(min(known, default=0))))
