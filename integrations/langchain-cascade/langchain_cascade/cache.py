"""LangChain's LLM cache in front of a whole cascade: a question asked before is answered without asking a model.

A wrapped model looks into the cache that it has itself, under its own key; this one holds final answers, under a key
of the policy, the models and everything else that decides about the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.globals import get_llm_cache
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import Generation

from langchain_cascade.request import Request


def cache_of(given: Any) -> BaseCache | None:
    """The cache that a cascade's `cache` parameter means; None: no cache of its own.

    Raises:
        ValueError: It is True, and no cache is set for LangChain as a whole.
    """
    if given is not True:
        return given or None
    found = get_llm_cache()
    if found is None:
        msg = "cache=True takes LangChain's own LLM cache, and none is set: call set_llm_cache first, or pass a cache."
        raise ValueError(msg)
    return found


def cache_key(request: Request, llm_string: str) -> tuple[str, str]:
    """Prompt and model as LangChain's caches want them.

    Args:
        request: The call.
        llm_string: Names the policy at the call's operating point, and the models.
    """
    messages: Sequence[BaseMessage] = [message.model_copy(update={"id": None}) for message in request.messages]
    tools = request.tools
    bound = None if tools is None else (tools.described, tools.tool_choice, sorted(tools.kwargs.items()))
    wishes = (request.settings.model, request.settings.escalate, bound, sorted(request.kwargs.items()))
    return dumps(messages), f"{llm_string}---{wishes}"


def recalled(found: Sequence[Generation] | None) -> AIMessage | None:
    """The answer that a cache kept, at no cost; None where it kept none."""
    message = getattr(found[0], "message", None) if found else None
    if not isinstance(message, AIMessage):
        return None
    usage: Any = message.usage_metadata and {**message.usage_metadata, "total_cost": 0}
    trace = {**message.response_metadata.get("cascade", {}), "cost_usd": 0.0, "cached": True}
    metadata = {**message.response_metadata, "cascade": trace}
    return message.model_copy(update={"usage_metadata": usage, "response_metadata": metadata})
