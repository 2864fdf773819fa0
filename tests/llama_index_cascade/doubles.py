"""Scripted doubles: LLMs that say what they are told; the policy is the one of the LangChain tests."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from typing import Any

from llama_index.core.base.llms.generic_utils import (
    achat_to_completion_decorator,
    astream_chat_to_completion_decorator,
    chat_to_completion_decorator,
    stream_chat_to_completion_decorator,
)
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    LLMMetadata,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms import MessageRole
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json
from pydantic import Field, PrivateAttr, SecretStr

from tests.langchain_cascade.doubles import ScriptedPolicy, policy, sample

__all__ = ["ScriptedLLM", "ScriptedPolicy", "policy", "pool"]


class ScriptedLLM(FunctionCallingLLM):
    """Says `reply` (a text, a message, an error to raise, or a function of the messages that gives one of them)."""

    model_name: str = "scripted"
    reply: Any = "a fine answer"
    breaks_after: int | None = None
    """Words after which a stream dies."""
    arguments: Any = None
    """What a tool is called with, a text that is no JSON too; None: something that fits."""
    tool: str | None = None
    """Which tool is called; None: the one that was asked for."""
    calls_tools: bool | str = True
    """Or "required": only if it must."""
    calls_all_tools: bool = False
    reports_usage: bool = True
    usage_details: dict[str, Any] = Field(default_factory=dict)
    """What `raw["usage"]` tells beside the three sums."""
    finish_reason: str = "stop"
    context_window: int = 4096
    num_output: int = 256
    is_function_calling_model: bool = True
    system_role: MessageRole = MessageRole.SYSTEM
    api_key: SecretStr | None = Field(default=None, exclude=True)
    delay: Callable[[], Awaitable[Any]] | None = Field(default=None, exclude=True)
    """What an asynchronous call waits for."""
    _calls: list[dict[str, Any]] = PrivateAttr(default_factory=list)
    _in_flight: int = PrivateAttr(default=0)
    _peak: int = PrivateAttr(default=0)

    @classmethod
    def class_name(cls):
        return "scripted_llm"

    @property
    def metadata(self):
        return LLMMetadata(
            context_window=self.context_window,
            num_output=self.num_output,
            is_chat_model=True,
            is_function_calling_model=self.is_function_calling_model,
            model_name=self.model_name,
            system_role=self.system_role,
        )

    @property
    def calls(self):
        """Messages and keyword arguments of every call."""
        return self._calls

    @property
    def in_flight(self):
        return self._in_flight

    @property
    def peak(self):
        """The most calls that were in flight at once."""
        return self._peak

    @contextmanager
    def _flight(self):
        self._in_flight += 1
        self._peak = max(self._peak, self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= 1

    async def _wait(self):
        if self.delay:
            await self.delay()

    # — what it says —

    def _message(self, messages, kwargs):
        self._calls.append({"messages": list(messages), **kwargs})
        reply = self.reply(messages) if callable(self.reply) else self.reply
        if isinstance(reply, BaseException):
            raise reply
        if self._may_call(messages, kwargs):
            return ChatMessage(role=MessageRole.ASSISTANT, blocks=self._tool_calls(messages, kwargs))
        return reply if isinstance(reply, ChatMessage) else ChatMessage(reply, role=MessageRole.ASSISTANT)

    def _may_call(self, messages, kwargs):
        choice = kwargs.get("tool_choice", "auto")
        answered = bool(messages) and messages[-1].role == MessageRole.TOOL
        if not kwargs.get("tools") or choice == "none" or answered:
            return False
        return choice != "auto" if self.calls_tools == "required" else self.calls_tools

    def _tool_calls(self, messages, kwargs):
        functions = {tool["function"]["name"]: tool["function"] for tool in kwargs["tools"]}
        choice = kwargs.get("tool_choice")
        chosen = choice["function"]["name"] if isinstance(choice, dict) else next(iter(functions))
        return [
            ToolCallBlock(
                tool_call_id=f"call_{self.model_name}_{number}",
                tool_name=self.tool or name,
                tool_kwargs=self._arguments(functions[name], messages),
            )
            for number, name in enumerate(functions if self.calls_all_tools else [chosen])
        ]

    def _arguments(self, function, messages):
        if self.arguments is not None:
            return self.arguments
        return sample(function["parameters"], str(messages[-1].content if messages else ""))

    def _usage(self, messages):
        if not self.reports_usage:
            return {}
        prompt_tokens = 10 * max(1, len(messages))
        return {"prompt_tokens": prompt_tokens, "completion_tokens": 5, "total_tokens": prompt_tokens + 5}

    def _response(self, message, messages, kwargs, delta=None):
        usage = self._usage(messages)
        raw = {"model": kwargs.get("model", self.model_name), "choices": [{"finish_reason": self.finish_reason}]}
        if usage:
            raw["usage"] = {**usage, **self.usage_details}
        return ChatResponse(message=message, raw=raw, delta=delta, additional_kwargs=usage)

    def _parts(self, messages, kwargs):
        """The responses of a stream: word by word, then the tool calls, a part of their arguments first."""
        message = self._message(messages, kwargs)
        text = ""
        for number, word in enumerate((message.content or "").split()):
            if number == self.breaks_after:
                raise ConnectionError(f"{self.model_name} broke")
            delta = word if number == 0 else f" {word}"
            text += delta
            yield ChatResponse(message=ChatMessage(text, role=MessageRole.ASSISTANT), raw={}, delta=delta)
        others = [block for block in message.blocks if not isinstance(block, TextBlock)]
        blocks = [*([TextBlock(text=text)] if text else []), *map(_as_text, others)]
        if others:
            first = [*blocks[:-1], _first_half(blocks[-1])]
            yield ChatResponse(message=_spoken(first, message), raw={}, delta="")
        yield self._response(_spoken(blocks, message), messages, kwargs, delta="")

    # — chat —

    @llm_chat_callback()
    def chat(self, messages, **kwargs):
        with self._flight():
            return self._response(self._message(messages, kwargs), messages, kwargs)

    @llm_chat_callback()
    async def achat(self, messages, **kwargs):
        with self._flight():
            await self._wait()
            return self._response(self._message(messages, kwargs), messages, kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages, **kwargs):
        return self._stream(messages, kwargs)

    @llm_chat_callback()
    async def astream_chat(self, messages, **kwargs):
        return self._astream(messages, kwargs)

    def _stream(self, messages, kwargs):
        with self._flight():
            yield from self._parts(messages, kwargs)

    async def _astream(self, messages, kwargs):
        with self._flight():
            await self._wait()
            for part in self._parts(messages, kwargs):
                yield part
                await asyncio.sleep(0)

    # — completion —

    def _chat(self, messages, **kwargs):
        return self._response(self._message(messages, kwargs), messages, kwargs)

    async def _achat(self, messages, **kwargs):
        with self._flight():
            await self._wait()
            return self._chat(messages, **kwargs)

    async def _astream_chat(self, messages, **kwargs):
        return self._astream(messages, kwargs)

    @llm_completion_callback()
    def complete(self, prompt, formatted=False, **kwargs):
        return chat_to_completion_decorator(self._chat)(prompt, **kwargs)

    @llm_completion_callback()
    async def acomplete(self, prompt, formatted=False, **kwargs):
        return await achat_to_completion_decorator(self._achat)(prompt, **kwargs)

    @llm_completion_callback()
    def stream_complete(self, prompt, formatted=False, **kwargs):
        stream = stream_chat_to_completion_decorator(lambda messages, **given: self._stream(messages, given))
        return stream(prompt, **kwargs)

    @llm_completion_callback()
    async def astream_complete(self, prompt, formatted=False, **kwargs):
        return await astream_chat_to_completion_decorator(self._astream_chat)(prompt, **kwargs)

    # — tools —

    def _prepare_chat_with_tools(
        self,
        tools,
        user_msg=None,
        chat_history=None,
        verbose=False,
        allow_parallel_tool_calls=False,
        tool_required=False,
        tool_choice=None,
        **kwargs,
    ):
        message = ChatMessage(user_msg, role=MessageRole.USER) if isinstance(user_msg, str) else user_msg
        messages = [*(chat_history or []), *([message] if message else [])]
        specs = [tool.metadata.to_openai_tool() for tool in tools]
        if not specs:
            return {"messages": messages, **kwargs}
        choice = tool_choice or ("required" if tool_required else "auto")
        if isinstance(choice, str) and choice not in ("none", "auto", "required"):
            choice = {"type": "function", "function": {"name": choice}}
        given = {"tools": specs, "tool_choice": choice, "parallel_tool_calls": allow_parallel_tool_calls}
        return {"messages": messages, **given, **kwargs}

    def _validate_chat_with_tools_response(self, response, tools, allow_parallel_tool_calls=False, **kwargs):
        found = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if not allow_parallel_tool_calls:
            response.message.blocks = [block for block in response.message.blocks if block not in found[1:]]
        return response

    def get_tool_calls_from_response(self, response, error_on_no_tool_call=True, **kwargs):
        found = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if not found and error_on_no_tool_call:
            raise ValueError(f"{self.model_name} made no tool call")
        return [
            ToolSelection(tool_id=block.tool_call_id, tool_name=block.tool_name, tool_kwargs=_parsed(block.tool_kwargs))
            for block in found
        ]


def _spoken(blocks, message):
    """A message of a stream; LlamaIndex's structured streams look for tool calls in `additional_kwargs`."""
    calls = [block.model_dump() for block in blocks if isinstance(block, ToolCallBlock)]
    kwargs = {**message.additional_kwargs, **({"tool_calls": calls} if calls else {})}
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=kwargs)


def _as_text(block):
    """A tool call as a stream has it: its arguments are a text."""
    if not isinstance(block, ToolCallBlock) or isinstance(block.tool_kwargs, str):
        return block
    return block.model_copy(update={"tool_kwargs": json.dumps(block.tool_kwargs)})


def _first_half(block):
    if not isinstance(block, ToolCallBlock):
        return block
    return block.model_copy(update={"tool_kwargs": block.tool_kwargs[: len(block.tool_kwargs) // 2]})


def _parsed(arguments):
    if not isinstance(arguments, str):
        return arguments
    try:
        return parse_partial_json(arguments)
    except ValueError:
        return {}


def pool(**changes):
    """Two LLMs; `small=...` and `large=...` are replies or further fields of each."""
    found = {}
    for name in ("small", "large"):
        given = changes.get(name, {})
        fields = given if isinstance(given, dict) else {"reply": given}
        found[name] = ScriptedLLM(**{"model_name": name, "reply": f"{name} says so", **fields})
    return found
