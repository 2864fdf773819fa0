"""What LlamaIndex's responses say of an answer, whichever LLM gave them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from pydantic import PrivateAttr

from cascade_components.answers import Answer, token_margins
from cascade_components.serving.account import Usage

_INPUT = ("prompt_tokens", "input_tokens", "prompt_token_count")
_OUTPUT = ("completion_tokens", "output_tokens", "candidates_token_count")
"""The providers' words for the tokens of a call."""
_PROMPT = ("prompt_tokens", "input_tokens", "prompt_token_count")
_COMPLETION = ("completion_tokens", "output_tokens", "candidates_token_count")
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
"""Where providers tell how many of the prompt's tokens were cached; those that tell it beside them don't count them."""


class CascadeMessage(ChatMessage):
    """A message that knows which member of the pool wrote it.

    Not a field: LLMs send the fields of a message to their providers, also where it is no cascade that asks them.
    """

    _answered_by: str | None = PrivateAttr(default=None)
    _tokens: int = PrivateAttr(default=0)

    @classmethod
    def of(cls, message: ChatMessage, model: str, tokens: int = 0) -> CascadeMessage:
        """A message as the answer of a model.

        Args:
            message: The model's own.
            model: Its name in the pool.
            tokens: Of prompt and answer, as its provider counted them; 0: unknown.
        """
        found = cls(role=message.role, blocks=list(message.blocks), additional_kwargs=dict(message.additional_kwargs))
        found._answered_by, found._tokens = model, tokens
        return found

    @property
    def answered_by(self) -> str | None:
        """Name of the model in the pool."""
        return self._answered_by

    @property
    def tokens(self) -> int:
        """Of prompt and answer, as the model's provider counted them; 0: unknown."""
        return self._tokens


def usage_of(response: ChatResponse) -> Usage | None:
    """Tokens of a wrapped call; None where its LLM does not tell."""
    places = (_field(response.raw, "usage"), _field(response.raw, "usage_metadata"), response.additional_kwargs)
    told = next((place for place in places if place), None)
    prompt, completion = _count(told, *_PROMPT), _count(told, *_COMPLETION)
    if not prompt and not completion:
        return None
    beside = _count(told, "cache_read_input_tokens"), _count(told, "cache_creation_input_tokens")
    within = next(filter(None, (_count(_field(told, outer), "cached_tokens") for outer in _DETAILS)), 0)
    return Usage(prompt + sum(beside), completion, cache_read=within or beside[0], cache_creation=beside[1])


def _count(told: Any, *names: str) -> int:
    """A number of tokens, by the first of the names that is there; 0: not told."""
    return next((int(count) for name in names if (count := _field(told, name))), 0)


def larger(before: Usage | None, now: Usage | None) -> Usage | None:
    """What a stream has told of its usage so far: its counts grow."""
    return Usage(*map(max, astuple(before), astuple(now))) if before and now else now or before


def usage_words(usage: Usage | None) -> dict[str, int] | None:
    """Usage as plain data."""
    if usage is None:
        return None
    words = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    extra = {"cache_read": usage.cache_read, "cache_creation": usage.cache_creation}
    return {**words, **{name: count for name, count in extra.items() if count}}


def answer_of(response: ChatResponse, model: str, llm: LLM) -> Answer:
    """Read a response as the answer of a pool model."""
    usage = usage_of(response)
    tops = [position for position in response.logprobs or [] if position]
    logprobs = tuple(round(position[0].logprob, 4) for position in tops)
    return Answer(
        text=response.message.content or "",
        model=model,
        output_tokens=usage.output_tokens if usage else None,
        token_logprobs=logprobs or None,
        token_margins=token_margins([[one.logprob for one in position] for position in tops]),
        finish_reason=finish_reason(response),
        tool_calls=_told_calls(response, llm),
    )


def calls_of(response: ChatResponse, llm: LLM) -> list[ToolSelection]:
    """The tool calls in a response, as the LLM that gave it reads them."""
    if not isinstance(llm, FunctionCallingLLM):
        return []
    return llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)


def _told_calls(response: ChatResponse, llm: LLM) -> tuple[dict[str, Any], ...]:
    """The tool calls as checks read them; LLMs repair arguments that are no JSON, here they are None."""
    try:
        calls = calls_of(response, llm)
    except ValueError:  # what the LLM calls cannot be read
        return ({"name": "", "args": None},)
    blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    broken = {block.tool_call_id for block in blocks if not _is_json(block.tool_kwargs)}
    return tuple(
        {"name": call.tool_name, "args": None if call.tool_id in broken else call.tool_kwargs} for call in calls
    )


def _is_json(arguments: Any) -> bool:
    try:
        return not isinstance(arguments, str) or json.loads(arguments or "{}") is not None
    except ValueError:
        return False


def finish_reason(response: ChatResponse) -> str | None:
    """Why an answer ended, in its provider's words; None where it does not tell."""
    if response.message.additional_kwargs.get("refusal"):
        return "refusal"
    choices = _field(response.raw, "choices") or [None]
    if _field(_field(choices[0], "message"), "refusal"):
        return "refusal"
    places = [(choices[0], "finish_reason"), (response.raw, "stop_reason"), (response.raw, "done_reason")]
    found = next((reason for place, name in places if (reason := _field(place, name))), None)
    return None if found is None else str(found)


def _first(value: Any, names: tuple[str, ...]) -> Any:
    return next((found for name in names if (found := _field(value, name)) is not None), None)


def _field(value: Any, name: str) -> Any:
    """A field of what a provider sent: a dictionary, or an object of its client."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
