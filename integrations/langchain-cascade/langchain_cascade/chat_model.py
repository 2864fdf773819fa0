"""The cascade as one LangChain chat model."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Literal, Self, cast

from langchain_core.callbacks import CallbackManagerForLLMRun, Callbacks
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult, LLMResult
from langchain_core.runnables import Runnable, RunnableConfig, ensure_config
from langchain_core.tools import BaseTool

from langchain_cascade.batch import BatchedCascade
from langchain_cascade.call import Call
from langchain_cascade.driver import arun, run
from langchain_cascade.events import aevent_stream, event_stream
from langchain_cascade.request import Request
from langchain_cascade.settings import take_settings
from langchain_cascade.spec import parameters_of, spec_of
from langchain_cascade.structured import StructuredCascade
from langchain_cascade.tools import ChatRunnable, Schema, Tools

_TOOLS = "_cascade_tools"


class CascadeChatModel(BatchedCascade):
    """Chat models behind one: the policy says which is asked first, and whether its answer stands.

    The final message is the accepted model's own. Its `response_metadata["cascade"]` says how it came about
    (model, path, scores, reason, `cost_usd` in USD, `passes` with each call's usage and `latency_ms`), and its
    `usage_metadata` is the sum over every pass.

    An answer that can still be rejected is held until it is judged: its model is called without streaming and
    tagged `nostream` and `cascade:draft`, and a rejected one reaches traces only. Where no estimator reads the
    answer, tokens stream as they come; then a failed check is noted in the trace, for what is streamed cannot
    be taken back. With tools or a schema at stake, such an answer is held too while a stronger model is left.

    In a tool loop (the last message is a `ToolMessage`), the model that made the call is asked again: with the gate
    of the policy's plan where that starts with it, else its answer stands unless a check fails. Where the query has
    no text, the strongest model is asked.

    One call's settings go into its config, `{"configurable": {"cascade": {...}}}`: one of `budget`, `retention`
    and `cost_weight` (another operating point of the policy), `model` (a member of the pool, by name) and
    `escalate` (False: the first answer stands, failed checks apart). Wrapped models don't see them.

    Args:
        policy: A policy's folder, or a `CascadePolicy`.
        models: The policy's models, by name: chat models, or Runnables around one.
        query: Takes the text that is routed from the messages; by default, the last human turn's. Use the one that
            the policy was fitted with.
        resilience: A `cascade_components.Resilience`: time-outs, retries, circuit breakers, hedging, and what becomes
            of a broken stream.
        kwargs: `temperature`, `max_tokens`, `timeout` and `stop`, handed to every wrapped call; and the parameters of
            any LangChain chat model (`name`, `tags`, `callbacks`, …).

    Raises:
        ValueError: The pool is not the policy's, a parameter is unknown, or one has no effect on a cascade.
        AllModelsFailed: On a call, if no model could answer; it carries each model's own error.

    Example:
        >>> model = CascadeChatModel(policy="policy/", models={"small": small, "large": large})  # doctest: +SKIP
        >>> model.invoke("What is 2 + 2?").response_metadata["cascade"]["path"]                  # doctest: +SKIP
        ['small']
    """

    # — the call —

    def _new_call(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None,
        *,
        live: bool = False,
        schema: Schema | None = None,
        **kwargs: Any,
    ) -> Call:
        settings, rest = take_settings(ensure_config(config))
        rest["tags"] = [*(self.tags or []), *rest["tags"]]
        rest["metadata"] = {**(self.metadata or {}), **rest["metadata"]}
        tools = kwargs.pop(_TOOLS, None)
        disabled = self.disable_streaming is True or (self.disable_streaming == "tool_calling" and tools is not None)
        if kwargs.get("stop") is None:
            kwargs.pop("stop", None)
        request = Request(
            messages=self._convert_input(input).to_messages(),
            config=rest,
            settings=settings,
            kwargs={**self._call_defaults, **kwargs},
            tools=tools,
            schema=schema,
            live=live and not disabled,
        )
        return Call(self, request)

    def invoke(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Ask the cascade; the class says what the message carries."""
        call = self._new_call(input, config, stop=stop, **kwargs)
        deque(run(call), maxlen=0)
        return call.message

    async def ainvoke(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """`invoke`, async."""
        call = self._new_call(input, config, stop=stop, **kwargs)
        async for _ in arun(call):
            pass
        return call.message

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Generator[AIMessageChunk]:
        """Ask the cascade; the answer's chunks come as the class says."""
        yield from run(self._new_call(input, config, live=True, stop=stop, **kwargs))

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[AIMessageChunk]:
        """`stream`, async."""
        async with aclosing(arun(self._new_call(input, config, live=True, stop=stop, **kwargs))) as chunks:
            async for chunk in chunks:
                yield chunk

    def stream_events(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        version: Literal["v1", "v2", "v3"] = "v2",
        **kwargs: Any,
    ) -> Any:
        """Events of one call; version "v3" gives a `ChatModelStream`, the others LangChain's own."""
        if version == "v3":
            return event_stream(self.stream(input, config, **kwargs))
        return super().stream_events(input, config, version=version, **kwargs)

    def astream_events(
        self,
        input: LanguageModelInput,  # noqa: A002
        config: RunnableConfig | None = None,
        *,
        version: Literal["v1", "v2", "v3"] = "v2",
        **kwargs: Any,
    ) -> Any:
        """`stream_events`, async; version "v3" is awaited for its stream, the others are iterated."""
        if version == "v3":
            return aevent_stream(self.astream(input, config, **kwargs))
        return super().astream_events(input, config, version=version, **kwargs)

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        **kwargs: Any,
    ) -> LLMResult:
        """`invoke` for each conversation, one after another."""
        configs, rest = _configs(len(messages), callbacks, kwargs)
        return _result(
            [self.invoke(one, config, stop=stop, **rest) for one, config in zip(messages, configs, strict=True)]
        )

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        **kwargs: Any,
    ) -> LLMResult:
        """`ainvoke` for each conversation, at the same time."""
        configs, rest = _configs(len(messages), callbacks, kwargs)
        calls = [self.ainvoke(one, config, stop=stop, **rest) for one, config in zip(messages, configs, strict=True)]
        return _result(await asyncio.gather(*calls))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        # Required by the base class, called by none of the entry points: a chat model's run cannot hold others.
        message = self.invoke(messages, {"callbacks": []}, stop=stop, **kwargs)
        return ChatResult(generations=[ChatGeneration(message=message)])

    # — tools and structured output —

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Give tools to whichever model is asked, each in its provider's own format.

        A call to a tool that does not exist, or with arguments that don't fit its schema, is a weak answer.
        """
        return self.bind(**{_TOOLS: Tools(tuple(tools), tool_choice, kwargs)})

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Ask for answers of a schema, each model by its own method; one that does not parse is a weak answer.

        Args:
            schema: As for any chat model.
            include_raw: Return `raw` (the final message, with the trace), `parsed` and `parsing_error`.
            kwargs: `method`, `strict` and the like, for the wrapped models' own `with_structured_output`.
        """
        given = {name: value for name, value in kwargs.items() if value is not None}
        return StructuredCascade(partial(self._new_call, schema=Schema(schema, given)), include_raw=include_raw)

    # — as data —

    def to_spec(self, policy: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """The cascade as JSON data, without secrets: API keys by the names of their environment variables.

        A model that cannot be written down so (made by your own class, or with headers that may hold a secret) is
        left open, and given to `from_spec` again.

        Args:
            policy: The policy's folder; None: the one that the cascade was made from.

        Raises:
            ValueError: The policy's folder is not known, or `query=` is a function of your own.
        """
        return spec_of(self, policy)

    @classmethod
    def from_spec(
        cls, spec: Mapping[str, Any], *, models: Mapping[str, ChatRunnable] | None = None, **kwargs: Any
    ) -> Self:
        """Make a cascade from what `to_spec` returned. Only from specs that you trust: they name classes to make.

        Args:
            spec: The data.
            models: Models that the spec leaves open, or that stand in for its own.
            kwargs: Parameters of `CascadeChatModel`, instead of those in the spec.

        Raises:
            ValueError: A model is neither in the spec nor given, or the policy in the folder is another one by now.
        """
        model = cls(**{**parameters_of(spec, models or {}), **kwargs})
        if model.policy.fingerprint != spec["fingerprint"]:
            msg = (
                f"The policy in {spec['policy']} has the fingerprint {model.policy.fingerprint}, the spec was made "
                f"with {spec['fingerprint']}: restore that policy, or make the spec again with to_spec()."
            )
            raise ValueError(msg)
        return model


def _configs(count: int, callbacks: Callbacks, kwargs: dict[str, Any]) -> tuple[list[RunnableConfig], dict[str, Any]]:
    """A config for each of several conversations, and the call arguments that are left; a run id is the first's."""
    names = ("tags", "metadata", "run_name", "run_id")
    given = {name: value for name in names if (value := kwargs.pop(name, None)) is not None}
    first = cast("RunnableConfig", {"callbacks": callbacks, **given})
    other = cast("RunnableConfig", {name: value for name, value in first.items() if name != "run_id"})
    return [other if number else first for number in range(count)], kwargs


def _result(messages: Sequence[AIMessage]) -> LLMResult:
    return LLMResult(generations=[[ChatGeneration(message=message)] for message in messages])
