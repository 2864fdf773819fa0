"""What wrapped calls cost in tokens, as LangChain's messages tell it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from langchain_core.messages.ai import UsageMetadata, add_usage

from cascade_components.serving.account import Usage


def usage_of(metadata: UsageMetadata | None) -> Usage | None:
    """A message's usage; None where its model does not tell."""
    if metadata is None:
        return None
    details = metadata.get("input_token_details") or {}
    return Usage(
        metadata["input_tokens"],
        metadata["output_tokens"],
        cache_read=details.get("cache_read") or 0,
        cache_creation=details.get("cache_creation") or 0,
        free=_from_cache(metadata),
    )


def total_usage(usages: Iterable[Any]) -> UsageMetadata | None:
    """The sum over every pass; None where no model told its usage."""
    known = [usage for usage in usages if usage]
    if not known:
        return None
    total: Any = known[0]
    for usage in known[1:]:
        total = add_usage(total, usage)
    if not all(map(_from_cache, known)):
        total = {name: value for name, value in total.items() if name != "total_cost"}
    return cast("UsageMetadata", total)


def _from_cache(metadata: UsageMetadata) -> bool:
    """Whether LangChain's cache answered: it writes this into the usage of the answer that it kept."""
    return metadata.get("total_cost") == 0
