"""What a conversation says to the cascade: the text that is routed, and who answered last."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from cascade_components.stickiness import Incumbent
from langchain_cascade.capabilities import prompt_tokens

QueryExtractor = Callable[[list[BaseMessage]], str]
"""Takes from a conversation the text that is routed."""


def last_human_text(messages: Sequence[BaseMessage]) -> str:
    """The text of the last human turn; empty where there is none."""
    return next((str(message.text) for message in reversed(messages) if isinstance(message, HumanMessage)), "")


def whole_text(messages: Sequence[BaseMessage]) -> str:
    """A conversation's text where nothing in it can be routed; else what it shows, such as "[image]".

    Raises:
        ValueError: The conversation is empty, or blank.
    """
    text = "\n".join(filter(None, (str(message.text).strip() for message in messages)))
    if text:
        return text
    kinds = {str(block["type"]) for message in messages for block in message.content_blocks} - {"text"}
    if not kinds:
        msg = "There is nothing to answer: no message has any content. Pass a question."
        raise ValueError(msg)
    return " ".join(f"[{kind}]" for kind in sorted(kinds))


def roles_without_human(messages: Sequence[BaseMessage]) -> tuple[str, ...] | None:
    """Who speaks in a conversation that nobody asks anything in; None: a human does ask."""
    if any(isinstance(message, HumanMessage) for message in messages):
        return None
    return tuple(dict.fromkeys(message.type for message in messages))


def incumbent(messages: Sequence[BaseMessage], pool: Collection[str], *, counted: bool = True) -> Incumbent | None:
    """The member of the pool that gave the last answer; None where it was nobody of the pool, or nobody knows.

    Args:
        messages: The conversation.
        pool: Names of the pool's members.
        counted: Whether its tokens are wanted: a tool loop stays without weighing them.
    """
    at = next((at for at in reversed(range(len(messages))) if isinstance(messages[at], AIMessage)), None)
    if at is None:
        return None
    trace = messages[at].response_metadata.get("cascade")
    if not isinstance(trace, dict) or trace.get("model") not in pool:
        return None
    in_tool_loop = isinstance(messages[-1], ToolMessage)
    if not counted:
        return Incumbent(trace["model"], in_tool_loop)
    return Incumbent(
        model=trace["model"],
        in_tool_loop=in_tool_loop,
        cached_tokens=_tokens_of_pass(trace) or prompt_tokens(messages[: at + 1]),
        new_tokens=prompt_tokens(messages[at + 1 :]),
    )


def _tokens_of_pass(trace: dict[str, Any]) -> int | None:
    """Prompt and answer of the pass whose answer stood, in tokens, as its provider counted them."""
    passes = [one for one in trace.get("passes") or [] if one.get("model") == trace["model"] and one.get("usage")]
    return passes[-1]["usage"]["total_tokens"] if passes else None
