"""What a conversation says to the cascade: the text that is routed, who answered last, which tools were called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, TextBlock
from llama_index.core.llms.llm import LLM

from cascade_components.stickiness import Incumbent
from llama_index.llms.cascade.responses import CascadeMessage, calls_of

QueryExtractor = Callable[[list[ChatMessage]], str]
"""Takes from a conversation the text that is routed."""

_TOOL = (MessageRole.TOOL, MessageRole.FUNCTION)


def last_user_text(messages: Sequence[ChatMessage]) -> str:
    """The text of the last user turn; empty where there is none."""
    return next((one.content or "" for one in reversed(messages) if one.role == MessageRole.USER), "")


def whole_text(messages: Sequence[ChatMessage]) -> str:
    """A conversation's text where nothing in it can be routed; else what it shows, such as "[image]".

    Raises:
        ValueError: The conversation is empty, or blank.
    """
    text = "\n".join(filter(None, ((message.content or "").strip() for message in messages)))
    if text:
        return text
    kinds = {block.block_type for one in messages for block in one.blocks if not isinstance(block, TextBlock)}
    if not kinds:
        msg = "There is nothing to answer: no message has any content. Pass a question."
        raise ValueError(msg)
    return " ".join(f"[{kind}]" for kind in sorted(kinds))


def roles_without_user(messages: Sequence[ChatMessage]) -> tuple[str, ...] | None:
    """Who speaks in a conversation that nobody asks anything in; None: a user does ask."""
    if any(message.role == MessageRole.USER for message in messages):
        return None
    return tuple(dict.fromkeys(message.role.value for message in messages))


def tokens_about(messages: Sequence[ChatMessage]) -> int:
    """About how long a prompt is, in tokens; at once, without a tokenizer."""
    return sum(3 + len(message.content or "") // 4 for message in messages)


def incumbent(messages: Sequence[ChatMessage], pool: Collection[str]) -> Incumbent | None:
    """The member of the pool that gave the last answer; None where nobody knows."""
    at = next((at for at in reversed(range(len(messages))) if messages[at].role == MessageRole.ASSISTANT), None)
    if at is None:
        return None
    message = messages[at]
    if not isinstance(message, CascadeMessage) or message.answered_by not in pool:
        return None
    return Incumbent(
        model=str(message.answered_by),
        in_tool_loop=messages[-1].role in _TOOL,
        cached_tokens=message.tokens or tokens_about(messages[: at + 1]),
        new_tokens=tokens_about(messages[at + 1 :]),
    )


def seen_calls(messages: Sequence[ChatMessage], models: Mapping[str, LLM], default: str) -> list[dict[str, Any]]:
    """The tool calls since the last user turn whose results are in the conversation.

    Args:
        messages: The conversation.
        models: The pool: each message's calls are read by the LLM that wrote it.
        default: Who reads the messages of nobody knows whom.
    """
    start = max((at for at, one in enumerate(messages) if one.role == MessageRole.USER), default=-1)
    turn = messages[start + 1 :]
    answered = {one.additional_kwargs.get("tool_call_id") for one in turn if one.role in _TOOL}
    found = []
    for message in turn:
        if message.role == MessageRole.ASSISTANT and answered:
            writer = message.answered_by if isinstance(message, CascadeMessage) else None
            llm = models.get(writer or default, models[default])
            calls = calls_of(ChatResponse(message=message), llm)
            found += [{"name": one.tool_name, "args": one.tool_kwargs} for one in calls if one.tool_id in answered]
    return found
