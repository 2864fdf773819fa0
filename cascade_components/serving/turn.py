"""What a call asks, as a cascade sees it, and whom it asks first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cascade_components.cascade import Cascade
from cascade_components.pricing import TokenPrice
from cascade_components.quality.checks import ToolSchemas
from cascade_components.serving.account import Account
from cascade_components.serving.reach import Reach
from cascade_components.serving.servable import ServablePolicy
from cascade_components.serving.settings import CallSettings
from cascade_components.stickiness import Incumbent, Sticky, sticky_route
from cascade_components.trace import Plan, Route, Trace


@dataclass(frozen=True)
class Turn:
    """One call, without its framework's words."""

    text: str
    """What is routed; blank where the conversation has nothing to route."""
    whole: str = ""
    """What stands for the question where `text` is blank."""
    settings: CallSettings = field(default_factory=CallSettings)
    able: frozenset[str] = frozenset()
    """The models that can take the call."""
    last: Incumbent | None = None
    """Who gave the conversation's last answer."""
    roles: tuple[str, ...] | None = None
    """Who speaks, where no human does; None: a human asks."""
    thread: str | None = None
    """The conversation, where it has a name."""
    prompt_tokens: int = 0
    max_tokens: int | None = None
    tools: ToolSchemas | None = None
    must_call: bool = False
    """Whether the model is told to call a tool."""
    made_calls: Sequence[Mapping[str, Any]] = ()
    """Tool calls whose results the conversation holds."""
    shaped: bool = False
    """Whether the answer has to have a form that checks can read: tool calls, or a structure."""
    live: bool = False
    """The caller reads the answer as it comes."""


def first_trace(
    cascade: Cascade,
    policy: ServablePolicy,
    turn: Turn,
    account: Account,
    reach: Reach,
    *,
    sticky: Sticky | None,
    prices: Mapping[str, TokenPrice],
    remedy: str,
) -> Trace:
    """Choose the model that a call asks first.

    Args:
        cascade: Decides.
        policy: At the call's operating point.
        turn: The call.
        account: Says whether the spending limit is reached.
        reach: Says who can be asked.
        sticky: Whether conversations stay with their model.
        prices: The user's own.
        remedy: What to do about a conversation that nobody asks anything in, in the framework's words.

    Raises:
        ValueError: Nobody asks anything, or the model named is not in the policy.
        SpendLimitError: Nobody can be paid.
    """
    named, escalate = turn.settings.model, turn.settings.escalate
    query = turn.text if turn.text.strip() else turn.whole
    if named is not None:
        trace = cascade.start(query, model=account.or_cheapest(named), escalate=escalate)
        return replace(trace, reasons=(_at_limit(trace.model),)) if account.at_limit else trace
    last = turn.last if sticky else None
    can_ask = reach.first()
    if turn.text.strip():
        route = sticky_route(policy, query, can_ask, last, sticky, prices)
    elif last is not None and last.in_tool_loop and last.model in can_ask:
        route = _by_name(last.model, "it made the tool call")
    else:
        route = _by_name(_strongest(policy, can_ask, turn, remedy), "the query has no text to route")
    if account.at_limit:
        route = replace(route, reason=_at_limit(route.plan.start))
    return cascade.start(query, available=can_ask, route=route, escalate=escalate)


def _strongest(policy: ServablePolicy, models: Collection[str], turn: Turn, remedy: str) -> str:
    if turn.roles is not None:
        msg = f"There is no human message to route (found: {', '.join(turn.roles)}). {remedy}"
        raise ValueError(msg)
    return next(name for name in reversed(policy.models) if name in models)


def _at_limit(model: str) -> str:
    return f"the spending limit is reached: {model}, the cheapest, is asked"


def _by_name(model: str, reason: str) -> Route:
    return Route(Plan(model), None, 0.0, f"{model} is asked: {reason}")
