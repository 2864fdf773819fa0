"""What a call needs, and what the wrapped models' profiles say they can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately

from cascade_components.availability import Capabilities
from langchain_cascade.tools import ChatRunnable, Tools, innermost

if TYPE_CHECKING:
    from langchain_cascade.request import Request

_FILES = {"image": "image", "audio": "audio", "video": "video", "file": "pdf"}
"""Kind of a content block → how a profile calls it."""

_BY_METHOD = {
    "json_schema": frozenset({"structured_output"}),
    "function_calling": frozenset({"tool_calling"}),
    "json_mode": frozenset[str](),
}
"""What each method of structured output takes; without a method, a model takes the one that it has."""


def profile_of(model: ChatRunnable) -> Mapping[str, Any]:
    """The profile of a wrapped model; empty where it has none."""
    inner = innermost(model)
    return (inner.profile if isinstance(inner, BaseChatModel) else None) or {}


def capabilities_of(model: ChatRunnable) -> Capabilities:
    """What a wrapped model's profile says that it cannot do."""
    profile = profile_of(model)
    return Capabilities(
        lacking=frozenset(name for name, value in profile.items() if value is False),
        max_input_tokens=profile.get("max_input_tokens"),
    )


def features_needed(request: Request) -> frozenset[frozenset[str]]:
    """What a call needs of whichever model is asked, as sets of alternatives."""
    groups = [frozenset({name}) for name in _file_features(request.messages)]
    if request.tools is not None and request.tools.tools:
        groups.append(frozenset({"tool_calling"}))
    if request.schema is not None:
        default = frozenset({"structured_output", "tool_calling"})
        groups.append(_BY_METHOD.get(str(request.schema.kwargs.get("method")), default))
    if request.response_format:
        groups.append(frozenset({"structured_output"}))
    return frozenset(filter(None, groups))


def prompt_tokens(messages: Sequence[BaseMessage], tools: Tools | None = None) -> int:
    """About how long a prompt is, in tokens; at once, without a tokenizer."""
    schemas = tools.schemas.items() if tools else ()
    return count_tokens_approximately(
        messages, tools=[{"name": name, "parameters": schema} for name, schema in schemas] or None
    )


def pool_profile(models: Mapping[str, ChatRunnable], last_resorts: Iterable[str]) -> ModelProfile | None:
    """What the cascade can do: what one of its last resorts can, within the smallest of their limits.

    Last resorts are the models whose answer stands: a call that one of them can take has an answer. What none of
    them can is False; what one of them may be able to is left out. None where nothing is known.
    """
    profiles = [profile_of(models[name]) for name in last_resorts]
    found: dict[str, Any] = {}
    for name in {name for profile in profiles for name in profile}:
        values = [profile.get(name) for profile in profiles]
        if name in ("max_input_tokens", "max_output_tokens"):
            found[name] = min(value for value in values if value is not None)
        elif True in values:
            found[name] = True
        elif all(value is False for value in values):
            found[name] = False
    return cast("ModelProfile", dict(sorted(found.items()))) if found else None


def _file_features(messages: Sequence[BaseMessage]) -> set[str]:
    found = set()
    for message in messages:
        if isinstance(message.content, str):
            continue
        tool = isinstance(message, ToolMessage)
        kinds = {_FILES[kind] for block in message.content_blocks if (kind := block["type"]) in _FILES}
        found |= {f"{kind}_tool_message" if tool else f"{kind}_inputs" for kind in kinds}
    return found
