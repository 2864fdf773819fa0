"""What serving needs of a policy, and the prices that a user gives beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol, Self

from cascade_components.cascade import Router
from cascade_components.pricing import TokenPrice
from cascade_components.stickiness import StickyRouter

Price = TokenPrice | tuple[float, float]
"""A pair is USD per input and per output token."""


class ServablePolicy(StickyRouter, Protocol):
    """What serving needs of a policy; `CascadePolicy` is one."""

    def at(
        self, *, budget: float | None = None, retention: float | None = None, cost_weight: float | None = None
    ) -> Self:
        """The same policy at another operating point."""
        ...

    @property
    def last_resorts(self) -> tuple[str, ...]:
        """The models whose answers stand, weakest first."""
        ...

    def cheaper(self, pressure: float) -> Self:
        """The same policy at a cheaper operating point: 0 stays here, 1 is the cheapest."""
        ...

    def cost_usd(self, model: str, input_tokens: int, output_tokens: int) -> float | None:
        """Price of one call in USD; None where it is unknown."""
        ...


def check_names(names: Collection[str], policy: Router) -> None:
    """Refuse a pool that is not the policy's.

    Raises:
        ValueError: Names are missing or unknown.
    """
    missing = [name for name in policy.models if name not in names]
    unknown = sorted(set(names) - set(policy.models))
    if missing or unknown:
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"not in the policy: {', '.join(unknown)}"] if unknown else []
        msg = f"The models are not those of the policy ({'; '.join(parts)}); it knows {', '.join(policy.models)}."
        raise ValueError(msg)


def token_prices(prices: Mapping[str, Price] | None, policy: Router) -> dict[str, TokenPrice]:
    """The prices that the user gave, by model.

    Raises:
        ValueError: A name is not in the policy, or a price is no price.
    """
    found: dict[str, TokenPrice] = {}
    for name, price in (prices or {}).items():
        if name not in policy.models:
            msg = f"prices: {name} is not in the policy; it knows {', '.join(policy.models)}."
            raise ValueError(msg)
        if not isinstance(price, TokenPrice) and not (isinstance(price, tuple | list) and len(price) == 2):
            msg = (
                f"prices: {name} must be a TokenPrice, such as TokenPrice.per_million(input=0.15, output=0.6), "
                f"or a pair of USD per input and per output token; found {type(price).__name__}."
            )
            raise ValueError(msg)
        found[name] = price if isinstance(price, TokenPrice) else TokenPrice(*price)
    return found


def check_priced(policy: ServablePolicy, prices: Mapping[str, TokenPrice]) -> None:
    """Refuse a spending limit over models whose calls cost nobody knows what.

    Raises:
        ValueError: A model has no price.
    """
    unpriced = [name for name in policy.models if name not in prices and policy.cost_usd(name, 1, 1) is None]
    if unpriced:
        msg = (
            f"spend_limit needs the price of every model; unknown: {', '.join(unpriced)}. "
            f'Give prices={{"{unpriced[0]}": TokenPrice.per_million(…)}}.'
        )
        raise ValueError(msg)
