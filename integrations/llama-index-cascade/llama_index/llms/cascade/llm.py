"""The cascade as one LlamaIndex LLM."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from llama_index.core.base.llms.generic_utils import (
    astream_chat_response_to_completion_response,
    chat_response_to_completion_response,
    stream_chat_response_to_completion_response,
)
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import BaseTool

from cascade_components.serving.settings import CallSettings
from llama_index.llms.cascade.base import CascadeBase
from llama_index.llms.cascade.call import Call
from llama_index.llms.cascade.driver import arun, run
from llama_index.llms.cascade.request import RawTools, Request, conversation

_TOOLS = "_cascade_tools"


class CascadeLLM(CascadeBase):
    """LLMs behind one: the policy says which is asked first, and whether its answer stands.

    The final response is the accepted LLM's own. Its `additional_kwargs["cascade"]` says how it came about (model,
    path, scores, reason, `cost_usd` in USD, `passes` with each call's usage, cost and `latency_ms`).

    An answer that can still be rejected is held until it is judged; a rejected one reaches traces only. Where nothing
    can reject it, a stream passes it on as it comes. Tools are formatted by each LLM itself; a call to a tool that
    does not exist, with arguments that don't fit, or repeated after its result was seen, is a weak answer.

    One call's settings are a keyword, `chat(messages, cascade={...})`: one of `budget`, `retention` and `cost_weight`,
    `model` (by name), `escalate`, and `thread`, the conversation that a spending limit per thread counts for.

    Callback handlers and instrumentation see each wrapped call, and nothing twice; a `CascadeEndEvent` tells the trace.
    The wrapped LLMs get the cascade's `callback_manager` where they have no handlers of their own.

    Args:
        policy: A policy's folder, or a `CascadePolicy`.
        models: The policy's models, by name.
        query: Takes the text that is routed from the messages; by default, the last user turn's.
        sticky: Whether a conversation stays with its model: in a tool loop ("loop"), also from turn to turn ("thread").
        release: When a stream may show an answer that can be rejected: once it is "judged", or "early", once the
            estimator, reading along, is sure enough.
        prices: What a token of each model costs in USD.
        spend_limit: A cap on what calls may cost.
        resilience: Time-outs, retries, circuit breakers, hedging, and what becomes of a broken stream.

    Raises:
        ValueError: The pool is not the policy's, or a parameter makes no sense.
        AllModelsFailed: On a call, if no LLM could answer; it carries each LLM's own error.

    Example:
        >>> llm = CascadeLLM(policy="policy/", models={"small": small, "large": large})     # doctest: +SKIP
        >>> llm.complete("What is 2 + 2?").additional_kwargs["cascade"]["path"]             # doctest: +SKIP
        ['small']
    """

    # — the call —

    def _new_call(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any], *, live: bool = False) -> Call:
        given = kwargs.pop("cascade", None)
        thread = given.get("thread") if isinstance(given, Mapping) else None
        others = {key: given[key] for key in given if key != "thread"} if isinstance(given, Mapping) else given
        settings = CallSettings.read(others, "Beside thread, cascade=")
        request = Request(
            messages=list(messages),
            settings=settings,
            tools=kwargs.pop(_TOOLS, None),
            kwargs=kwargs,
            thread=None if thread is None else str(thread),
            live=live,
        )
        return Call(self, request)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Ask the cascade; the class says what the response carries."""
        call = self._new_call(messages, kwargs)
        deque(run(call), maxlen=0)
        return call.response

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat`, async."""
        call = self._new_call(messages, kwargs)
        async for _ in arun(call):
            pass
        return call.response

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Ask the cascade; the answer comes as the class says, and the last response carries the trace."""
        return run(self._new_call(messages, kwargs, live=True))

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """`stream_chat`, async."""
        return arun(self._new_call(messages, kwargs, live=True))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002, ARG002
        """`chat` with the prompt as a user message."""
        return chat_response_to_completion_response(self.chat([ChatMessage(prompt)], **kwargs))

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002, ARG002
        """`complete`, async."""
        return chat_response_to_completion_response(await self.achat([ChatMessage(prompt)], **kwargs))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:  # noqa: FBT001, FBT002, ARG002
        """`stream_chat` with the prompt as a user message."""
        return stream_chat_response_to_completion_response(self.stream_chat([ChatMessage(prompt)], **kwargs))

    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: FBT001, FBT002, ARG002
        **kwargs: Any,
    ) -> CompletionResponseAsyncGen:
        """`stream_complete`, async."""
        chat = arun(self._new_call([ChatMessage(prompt)], kwargs, live=True))

        async def parts() -> CompletionResponseAsyncGen:
            async with aclosing(chat):  # LlamaIndex's converter does not close it
                async for part in astream_chat_response_to_completion_response(chat):
                    yield part

        return parts()

    # — tools —

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: FBT001, FBT002, ARG002
        allow_parallel_tool_calls: bool = False,  # noqa: FBT001, FBT002
        tool_required: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Keep the raw tools: the LLM that is asked formats them."""
        own: dict[str, Any] = {name: kwargs.pop(name) for name in ("tool_choice", "strict") if name in kwargs}
        raw = RawTools(tuple(tools), tool_required, allow_parallel_tool_calls, own) if tools else None
        return {"messages": conversation(user_msg, chat_history), **({_TOOLS: raw} if raw else {}), **kwargs}

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,  # noqa: FBT001, FBT002
        **kwargs: Any,
    ) -> list[ToolSelection]:
        """The tool calls in a response, as the LLM that answered reads them.

        Raises:
            ValueError: There are none, and `error_on_no_tool_call`.
        """
        trace = response.additional_kwargs.get("cascade") or {}
        name = trace.get("model") or getattr(response.message, "answered_by", None) or self.policy.models[-1]
        llm = self.models.get(name, self.models[self.policy.models[-1]])
        if isinstance(llm, FunctionCallingLLM):
            return llm.get_tool_calls_from_response(response, error_on_no_tool_call, **kwargs)
        if error_on_no_tool_call:
            msg = f"Expected at least one tool call, but {name} ({llm.class_name()}) cannot call tools."
            raise ValueError(msg)
        return []
