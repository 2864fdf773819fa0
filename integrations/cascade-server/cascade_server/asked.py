"""From OpenAI's request to LangChain's messages, tools and call arguments."""

from __future__ import annotations

import json
from typing import Any, assert_never

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages import SystemMessage as SystemTurn
from langchain_core.messages import ToolMessage as ToolTurn

from cascade_server import chat_request as openai
from langchain_cascade.conversation import last_human_text
from langchain_cascade.tools import Tools

_BLANK = "(nothing)"
"""Stands for a conversation without a word: there is no cluster of such questions."""

_PASSED_ON = (
    *("temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias", "seed", "logprobs"),
    *("top_logprobs", "user", "store", "service_tier", "reasoning_effort", "verbosity"),
    *("prompt_cache_key", "safety_identifier"),
)


def messages_of(request: openai.ChatRequest) -> list[BaseMessage]:
    """The conversation. Nothing but what OpenAI's API knows gets in: no metadata that a cascade would trust.

    Example:
        >>> body = {"model": "cascade", "messages": [{"role": "user", "content": "Hello"}]}
        >>> messages_of(openai.ChatRequest.model_validate(body))[0].content
        'Hello'
    """
    return [_message(message) for message in request.messages]


def routed_text(messages: list[BaseMessage]) -> str:
    """The text that is routed: the last user's; where there is none, the conversation's, for OpenAI's API answers it.

    Empty where the user shows something else than text: then the strongest model is asked.
    """
    text = last_human_text(messages)
    shown = [message.content for message in messages if isinstance(message, HumanMessage)][-1:]
    if text.strip() or any(part["type"] != "text" for content in shown for part in content if isinstance(part, dict)):
        return text
    return "\n".join(filter(None, (str(message.text).strip() for message in messages))) or _BLANK


def tools_of(request: openai.ChatRequest) -> Tools | None:
    """The tools, until a wrapped model formats them."""
    if request.tools is None:
        return None
    kwargs: dict[str, bool] = (
        {} if request.parallel_tool_calls is None else {"parallel_tool_calls": request.parallel_tool_calls}
    )
    if _shaped(request):
        kwargs["strict"] = True  # as LangChain's agents have it: OpenAI's client takes no other beside a format
    tools = [tool.model_dump(exclude_none=True) for tool in request.tools]
    if _shaped(request):
        tools = [tool["function"] for tool in tools]  # a bare function: a whole tool would stay as it is
    return Tools(tuple(tools), _choice(request), kwargs)


def arguments_of(request: openai.ChatRequest) -> dict[str, Any]:
    """Call arguments for every wrapped model: those that the client named."""
    given = {name: value for name in _PASSED_ON if (value := getattr(request, name)) is not None}
    longest = request.max_completion_tokens or request.max_tokens
    if longest is not None:
        given["max_tokens"] = longest  # LangChain's name, which each integration turns into its provider's
    if request.stop is not None:
        given["stop"] = [request.stop] if isinstance(request.stop, str) else request.stop
    if request.response_format is not None and _shaped(request):
        given["response_format"] = request.response_format.model_dump(by_alias=True, exclude_none=True)
    return given


def _shaped(request: openai.ChatRequest) -> bool:
    """Whether the answer has to have a format."""
    return request.response_format is not None and request.response_format.type != "text"


def _choice(request: openai.ChatRequest) -> str | None:
    """Which tool must be called, in LangChain's words, which every integration knows."""
    choice = request.tool_choice
    if isinstance(choice, openai.NamedTool):
        return choice.function.name
    return "any" if choice == "required" else choice


def _message(message: openai.Message) -> BaseMessage:
    match message:
        case openai.UserMessage():
            return HumanMessage(_content(message.content), name=message.name)
        case openai.SystemMessage():
            role = {"__openai_role__": "developer"} if message.role == "developer" else {}
            return SystemTurn(_content(message.content), name=message.name, additional_kwargs=role)
        case openai.ToolMessage():
            return ToolTurn(_content(message.content), tool_call_id=message.tool_call_id)
        case openai.AssistantMessage():
            return _answer(message)
        case _:
            assert_never(message)


def _answer(message: openai.AssistantMessage) -> AIMessage:
    calls, unread = [], []
    for call in message.tool_calls or ():
        name, text = call.function.name, call.function.arguments
        arguments = _object(text)
        if arguments is None:
            unread.append({"name": name, "args": text, "id": call.id, "error": None, "type": "invalid_tool_call"})
        else:
            calls.append({"name": name, "args": arguments, "id": call.id, "type": "tool_call"})
    refusal = {} if message.refusal is None else {"refusal": message.refusal}
    return AIMessage(
        _content(message.content or ""),
        name=message.name,
        additional_kwargs=refusal,
        tool_calls=calls,
        invalid_tool_calls=unread,
    )


def _content(content: Any) -> Any:
    return content if isinstance(content, str) else [part.model_dump(exclude_none=True) for part in content]


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
