"""Whom a call asks first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from cascade_components.cascade import Cascade
from cascade_components.pricing import TokenPrice
from cascade_components.stickiness import Sticky, sticky_route
from cascade_components.trace import Plan, Route, Trace
from langchain_cascade.account import Account
from langchain_cascade.conversation import QueryExtractor, check_human, incumbent, last_human_text, whole_text
from langchain_cascade.pool import ServablePolicy
from langchain_cascade.request import Request


@dataclass(frozen=True)
class Opening:
    """How the first model is chosen: the same for every call of a chat model."""

    query: QueryExtractor | None
    sticky: Sticky | None
    prices: Mapping[str, TokenPrice]

    def __call__(self, policy: ServablePolicy, request: Request, able: Collection[str], account: Account) -> Trace:
        """Choose the first model.

        Args:
            policy: At the call's operating point.
            request: The call.
            able: Models that can do what the call needs.
            account: Says who can be paid.

        Raises:
            ValueError: There is nothing to answer, or nothing to route, or the model named is not in the policy.
            SpendLimitError: Nobody can be paid.
        """
        settings, messages, cascade = request.settings, request.messages, Cascade(policy)
        text = (self.query or last_human_text)(messages)
        if settings.model is not None:
            query = text if text.strip() else whole_text(messages)
            return cascade.start(query, model=settings.model, escalate=settings.escalate)
        last = incumbent(messages, policy.models) if self.sticky else None
        payable = account.affordable(able)
        if text.strip():
            route = sticky_route(policy, text, payable, last, self.sticky, self.prices)
        elif last is not None and last.in_tool_loop and last.model in payable:
            text = whole_text(messages)
            route = _by_name(last.model, "it made the tool call")
        else:
            text = whole_text(messages)
            check_human(messages)
            strongest = next(name for name in reversed(policy.models) if name in payable)
            route = _by_name(strongest, "the query has no text to route")
        if account.at_limit:
            route = replace(route, reason=f"the spending limit is reached: {route.plan.start}, the cheapest, is asked")
        return cascade.start(text, available=payable, route=route, escalate=settings.escalate)


def _by_name(model: str, reason: str) -> Route:
    return Route(Plan(model), None, 0.0, f"{model} is asked: {reason}")
