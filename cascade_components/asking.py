"""What an agent that has a cascade as a tool is told: what the tools do, what they are called with, what went wrong."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, ValidationError

from cascade_components.cascade import AllModelsFailed, Router
from cascade_components.policy import CascadePolicy

_UNITS = {"cost_usd": "USD", "tpot_ms": "ms per output token", "e2el_ms": "ms"}


class ExplainInput(BaseModel):
    """What the tool that explains is called with."""

    question: str = Field(description="The whole question, on its own: what it asks decides which model answers.")
    retention: float | None = Field(
        None, description="Quality: the share of the strongest model's accuracy to keep, such as 0.95."
    )
    budget: float | None = Field(
        None, description="Instead of retention: what a question may cost on average, in the unit of the tool's costs."
    )


class AskInput(ExplainInput):
    """What the tool that asks is called with."""

    context: str | None = Field(None, description="What is needed to answer it: documents, data, what was found out.")


def asking(policy: Router) -> str:
    """What an agent should know about the tool that asks a cascade with this policy."""
    return (
        f"Answers a question by a cascade of chat models ({', '.join(policy.models)}; weakest first): a cheap one "
        "where it is good enough, a stronger one where it is not. Use it for questions that a chat model can answer "
        "from what you give it. It sees nothing of your conversation: the question must stand on its own, and what is "
        f"needed to answer it goes into context.{_costs(policy)}"
    )


def explaining(policy: Router) -> str:
    """What an agent should know about the tool that explains a cascade with this policy."""
    return (
        "Says which chat model would be asked a question first, who would be asked next, why, and what accuracy and "
        f"cost to expect. It asks no model and costs nothing.{_costs(policy)}"
    )


def context_text(context: str) -> str:
    """A context as the message that goes before its question.

    It is a user's message, not the system's: what an agent has found is to be read, not to be obeyed. And it is a
    message of its own: a cascade routes the last user's message, which is then the question alone.
    """
    return f"Context for the next question:\n\n{context}"


def checked_question(question: str) -> str:
    """The question, if there is one.

    Raises:
        ValueError: It is empty.
    """
    if not question.strip():
        msg = "The question is empty. Pass the whole question as a text."
        raise ValueError(msg)
    return question


def checked_target(retention: float | None, budget: float | None) -> dict[str, float]:
    """The operating point that a call asks for, by name; empty: none.

    Raises:
        ValueError: Both are given.
    """
    if retention is not None and budget is not None:
        msg = f"Give retention or budget, not both: found retention {retention:g} and budget {budget:g}."
        raise ValueError(msg)
    return {name: value for name, value in (("retention", retention), ("budget", budget)) if value is not None}


def checked_policy(policy: Any) -> CascadePolicy:
    """A policy that can be explained.

    Raises:
        ValueError: It is another one than `fit` makes.
    """
    if not isinstance(policy, CascadePolicy):
        msg = f"To explain what would be done takes a CascadePolicy, which fit makes; found {type(policy).__name__}."
        raise ValueError(msg)
    return policy


def wrong_arguments(error: ValidationError) -> str:
    """What is wrong with the arguments that a tool was called with."""
    found = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return f"The tool was called with wrong arguments: {'; '.join(found)}."


def failure(error: AllModelsFailed) -> str:
    """That no model answered: the kinds of their errors only, for the texts may hold secrets."""
    kinds = ", ".join(dict.fromkeys(type(cause).__name__ for cause in error.exceptions))
    return f"No model of the cascade could answer ({kinds})."


def _costs(policy: Router) -> str:
    """What an agent should know about costs; nothing where the policy is another one than `fit` makes."""
    if not isinstance(policy, CascadePolicy):
        return ""
    unit, strongest = _UNITS[policy.metric], float(policy.table.pool(policy.factors).model_cost[-1])
    # Rounded up: an agent that asks for exactly this must get it.
    cheapest = 1.005 * min(point.cost for point in policy.planner.front())
    return (
        f" A question costs {policy.point.cost:.3g} {unit} on average, {policy.strongest} alone {strongest:.3g}. "
        f"Costs are in {unit}; the lowest budget that can be kept is {cheapest:.3g}."
    )
