"""The fake model as a LiteLLM provider: `fake/NAME`, called in LiteLLM's own format."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fake import ChatFake
from langchain_core.messages import AIMessage, convert_to_messages

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # read by the next import, which else fetches a price list

import litellm


class FakeProvider(litellm.CustomLLM):
    """Answers as the fake model does, whole or streamed, sync and async."""

    def completion(self, model: str, messages: list[dict[str, Any]], *_: Any, **kwargs: Any) -> litellm.ModelResponse:
        """The whole answer."""
        message = _ask(model, messages, kwargs["optional_params"])
        answer = {"role": "assistant", "content": message.text or None, "tool_calls": _tool_calls(message) or None}
        choice = {"index": 0, "finish_reason": _finish_reason(message), "message": answer}
        return litellm.ModelResponse(model=model, choices=[choice], usage=litellm.Usage(**_usage(message)))

    async def acompletion(self, *args: Any, **kwargs: Any) -> litellm.ModelResponse:
        """The same: the fake model never waits."""
        return self.completion(*args, **kwargs)

    def streaming(self, model: str, messages: list[dict[str, Any]], *_: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """Word by word, then the tool calls, then the usage."""
        message = _ask(model, messages, kwargs["optional_params"])
        for number, word in enumerate(str(message.text).split()):
            yield _chunk(text=word if number == 0 else f" {word}")
        for call in _tool_calls(message):
            yield _chunk(tool_use=call)
        yield _chunk(is_finished=True, finish_reason=_finish_reason(message), usage=_usage(message))

    async def astreaming(self, *args: Any, **kwargs: Any) -> AsyncIterator[dict[str, Any]]:
        """The same: the fake model never waits."""
        for chunk in self.streaming(*args, **kwargs):
            yield chunk


def register() -> None:
    """Make `fake/NAME` known to LiteLLM."""
    litellm.custom_provider_map = [{"provider": "fake", "custom_handler": FakeProvider()}]


def _ask(model: str, messages: list[dict[str, Any]], parameters: dict[str, Any]) -> AIMessage:
    choice = parameters.get("tool_choice")
    name = choice["function"]["name"] if isinstance(choice, dict) else choice
    known = {
        "tools": parameters.get("tools"),
        "response_format": parameters.get("response_format"),
        "tool_choice": name,
    }
    return ChatFake(model_name=model).answer(convert_to_messages(messages), known)


def _chunk(**changes: Any) -> dict[str, Any]:
    empty = {"text": "", "tool_use": None, "is_finished": False, "finish_reason": "", "usage": None, "index": 0}
    return {**empty, **changes}


def _tool_calls(message: AIMessage) -> list[dict[str, Any]]:
    return [
        {
            "index": number,
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["args"])},
        }
        for number, call in enumerate(message.tool_calls)
    ]


def _finish_reason(message: AIMessage) -> str:
    return "tool_calls" if message.tool_calls else "stop"


def _usage(message: AIMessage) -> dict[str, int]:
    usage = message.usage_metadata
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
    }
