"""The chat model that every candidate wraps: it passes the whole suite alone, so a failure is the wrapper's."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

VALUES = {"integer": 3, "number": 3, "boolean": True, "array": [], "object": {}}


class ChatFake(BaseChatModel):
    """Says `reply`, word by word when streaming; with tools bound, calls the one asked for, then answers.

    Knows OpenAI's `tools`, `tool_choice`, `response_format` (JSON schemas only) and `model`.
    """

    model_name: str
    reply: str = "A fine answer to that."
    error: Any = None
    """An exception to raise instead."""
    streaming: bool = False

    @property
    def _llm_type(self) -> str:
        return "fake"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name}

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        """Keep the tools in OpenAI's format, as most chat models do."""
        formatted = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=formatted, tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self, schema: Any, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[Any, dict[str, Any] | BaseModel]:
        """The inherited one, by tool calls; defined since `with_fallbacks` can't read the annotations of that one."""
        return super().with_structured_output(schema, include_raw=include_raw, **kwargs)

    def answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        """What it says, outside LangChain's machinery."""
        if self.error is not None:
            raise self.error
        calls = []
        if kwargs.get("tools") and not isinstance(messages[-1], ToolMessage):
            calls.append(_tool_call(kwargs["tools"], kwargs.get("tool_choice"), str(messages[-1].text)))
        reply = self.reply
        if kwargs.get("response_format"):
            schema = kwargs["response_format"]["json_schema"]["schema"]
            reply = json.dumps(_fitting(schema, str(messages[-1].text)))
        tokens = 10 * len(messages)
        return AIMessage(
            "" if calls else reply,
            tool_calls=calls,
            usage_metadata={"input_tokens": tokens, "output_tokens": 5, "total_tokens": tokens + 5},
            response_metadata={"model_name": kwargs.get("model", self.model_name), "finish_reason": "stop"},
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.answer(messages, kwargs))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        message = self.answer(messages, kwargs)
        for number, word in enumerate(str(message.text).split()):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word if number == 0 else f" {word}"))
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk
        last = AIMessageChunk(
            content="",
            tool_call_chunks=[
                {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": number}
                for number, call in enumerate(message.tool_calls)
            ],
            usage_metadata=message.usage_metadata,
            response_metadata=message.response_metadata,
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=last)


def _tool_call(tools: list[dict[str, Any]], choice: Any, text: str) -> dict[str, Any]:
    """A call of the chosen tool, else of the first."""
    functions = {tool["function"]["name"]: tool["function"] for tool in tools}
    name = choice if choice in functions else next(iter(functions))
    return {
        "name": name,
        "args": _fitting(functions[name].get("parameters", {}), text),
        "id": "call_1",
        "type": "tool_call",
    }


def _fitting(schema: dict[str, Any], text: str) -> dict[str, Any]:
    """Values that fit a JSON schema; strings are `text`."""
    return {key: VALUES.get(one.get("type"), text) for key, one in schema.get("properties", {}).items()}
