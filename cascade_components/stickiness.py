"""Whether a conversation stays with the model that answered last: a switch loses its provider's prompt cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from cascade_components.cascade import Router
from cascade_components.pricing import TokenPrice
from cascade_components.trace import Plan, Route

Sticky = Literal["loop", "thread"]
"""Stay within a tool loop, or also from turn to turn."""


@dataclass(frozen=True)
class Incumbent:
    """The model that wrote a conversation's last answer, and what was left with its provider."""

    model: str
    in_tool_loop: bool
    """It made tool calls, and their results are what it is asked about now."""
    cached_tokens: int = 0
    """Tokens of the conversation that its provider has read or written already."""
    new_tokens: int = 0
    """Tokens that came since."""


@dataclass(frozen=True)
class Stay:
    """What staying with a model means for a query."""

    plan: Plan
    """The best plan that starts with the model."""
    gain: float | None = None
    """Expected accuracy that it has more than the router's plan; None: unknown."""
    accuracy_per_usd: float | None = None
    """What one USD is worth at the policy's cost weight; None: the policy does not count in USD."""


class StickyRouter(Router, Protocol):
    """A router that can tell what staying with a model means."""

    def staying(self, route: Route, model: str, available: frozenset[str]) -> Stay:
        """What staying with `model` means for a query that would take `route`."""
        ...

    def expected_output_tokens(self, model: str) -> float | None:
        """Mean length of the model's answers, in tokens; None where it is unknown."""
        ...


def sticky_route(
    policy: StickyRouter,
    query: str,
    available: frozenset[str],
    incumbent: Incumbent | None,
    sticky: Sticky | None,
    prices: Mapping[str, TokenPrice],
) -> Route:
    """Choose the plan for a query of a conversation.

    In a tool loop the incumbent stays. From turn to turn ("thread"), Eq. 2 of arXiv 2606.27457 is solved with what
    this call costs: the incumbent stays where its expected accuracy, less λ times its cost with the conversation in
    its provider's prompt cache, is no worse than the router's choice with a cold one. Where the price of a cached
    token is not known, it stays if the router chose no stronger model.

    Args:
        policy: Routes, and knows what staying means.
        query: The text that is routed.
        available: Models that can be asked.
        incumbent: Who answered last; None: nobody, or nobody of the pool.
        sticky: "loop", "thread", or None: every call is routed anew.
        prices: Token prices; those with `cache_read` can be weighed.
    """
    route = policy.route(query, available)
    if sticky is None or incumbent is None or incumbent.model not in available:
        return route
    if incumbent.model == route.plan.start:
        return route
    stay = policy.staying(route, incumbent.model, available)
    if incumbent.in_tool_loop:
        return replace(route, plan=stay.plan, reason=f"{incumbent.model} is asked: it made the tool call")
    if sticky == "thread" and _worth_it(policy, route, incumbent, stay, prices):
        return replace(route, plan=stay.plan, reason=f"{incumbent.model} is asked: the thread stays with it")
    return route


def _worth_it(
    policy: StickyRouter, route: Route, incumbent: Incumbent, stay: Stay, prices: Mapping[str, TokenPrice]
) -> bool:
    here, there = prices.get(incumbent.model), prices.get(route.plan.start)
    if here is None or there is None or here.cache_read is None or stay.gain is None or stay.accuracy_per_usd is None:
        return policy.models.index(incumbent.model) > policy.models.index(route.plan.start)
    prompt = incumbent.cached_tokens + incumbent.new_tokens
    extra = _cost(policy, incumbent.model, here, prompt, incumbent.cached_tokens)
    extra -= _cost(policy, route.plan.start, there, prompt, 0)
    return stay.gain >= stay.accuracy_per_usd * extra


def _cost(policy: StickyRouter, model: str, price: TokenPrice, prompt: int, cached: int) -> float:
    return price.cost_usd(prompt, round(policy.expected_output_tokens(model) or 0), cache_read=cached)
