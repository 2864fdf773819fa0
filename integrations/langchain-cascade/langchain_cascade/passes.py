"""The wrapped models' answers to one call, and what they cost together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata, add_usage

from cascade_components.pricing import TokenPrice
from cascade_components.trace import Trace
from langchain_cascade.pool import ServablePolicy


@dataclass(frozen=True)
class Pass:
    """One wrapped model's answer."""

    model: str
    message: AIMessage
    reason: str
    """Why this model was asked."""
    latency_ms: float
    cost_usd: float | None
    parsed: Any = None
    parsing_error: BaseException | None = None

    def to_dict(self) -> dict[str, Any]:
        """The pass as plain data, without the answer's text: a rejected one stays out of the final message."""
        return {
            "model": self.model,
            "reason": self.reason,
            "usage": self.message.usage_metadata,
            "cost_usd": self.cost_usd,
            "latency_ms": round(self.latency_ms, 3),
        }


def cost_of(usage: UsageMetadata | None, name: str, policy: ServablePolicy, price: TokenPrice | None) -> float | None:
    """What one wrapped call cost in USD; None where its usage or its price is unknown."""
    if usage is None:
        return None
    if _from_cache(usage):
        return 0.0
    if price is None:
        return policy.cost_usd(name, usage["input_tokens"], usage["output_tokens"])
    details = usage.get("input_token_details") or {}
    return price.cost_usd(
        usage["input_tokens"],
        usage["output_tokens"],
        cache_read=details.get("cache_read") or 0,
        cache_creation=details.get("cache_creation") or 0,
    )


def total_usage(passes: Iterable[Pass]) -> UsageMetadata | None:
    """The sum over every pass; None where no model told its usage."""
    known = [usage for one in passes if (usage := one.message.usage_metadata)]
    if not known:
        return None
    total: Any = known[0]
    for usage in known[1:]:
        total = add_usage(total, usage)
    if not all(map(_from_cache, known)):
        total = {name: value for name, value in total.items() if name != "total_cost"}
    return cast("UsageMetadata", total)


def summary(trace: Trace, passes: Sequence[Pass]) -> dict[str, Any]:
    """What the final message says about how it came about."""
    costs = [one.cost_usd for one in passes]
    known = [cost for cost in costs if cost is not None]
    return {
        **trace.to_dict(),
        "cost_usd": sum(known) if len(known) == len(costs) else None,
        "passes": [one.to_dict() for one in passes],
    }


def _from_cache(usage: UsageMetadata) -> bool:
    """Whether LangChain's cache answered: it writes this into the usage of the answer that it kept."""
    return usage.get("total_cost") == 0
