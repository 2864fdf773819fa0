"""The cascade as one LlamaIndex LLM."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import Any, Literal, Self, cast

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
    LLMMetadata,
)
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from llama_index.core.tools import BaseTool
from pydantic import Field, PrivateAttr, SkipValidation

import cascade_components as cc
from cascade_components.availability import Capabilities, Needs, able_models
from cascade_components.serving.call import Release, Serving
from cascade_components.serving.servable import Price, ServablePolicy, check_names, check_priced, token_prices
from cascade_components.serving.settings import CallSettings
from cascade_components.serving.turn import Turn
from cascade_components.spending import SpendLimit
from cascade_components.stickiness import Sticky
from llama_index.llms.cascade.call import Call, RawTools, Request, conversation
from llama_index.llms.cascade.conversation import (
    QueryExtractor,
    incumbent,
    last_user_text,
    roles_without_user,
    seen_calls,
    tokens_about,
    whole_text,
)
from llama_index.llms.cascade.driver import arun, run
from llama_index.llms.cascade.serialization import models_from_dict, models_to_dict

_TOOLS = "_cascade_tools"
_REMEDY = (
    "Add a user message, give the cascade query= a function that takes the text from your messages, or name the model "
    'that is asked: chat(messages, cascade={"model": ...}).'
)


class CascadeLLM(FunctionCallingLLM):
    """LLMs behind one: the policy says which is asked first, and whether its answer stands.

    The final response is the accepted LLM's own. Its `additional_kwargs["cascade"]` says how it came about (model,
    path, scores, reason, `cost_usd` in USD, `passes` with each call's usage, cost and `latency_ms`).

    An answer that can still be rejected is held until it is judged; a rejected one reaches traces only. Where nothing
    can reject it, a stream passes it on as it comes. Tools are formatted by each LLM itself; a call to a tool that
    does not exist, with arguments that don't fit, or repeated after its result was seen, is a weak answer.

    One call's settings are a keyword, `chat(messages, cascade={...})`: one of `budget`, `retention` and `cost_weight`,
    `model` (by name), `escalate`, and `thread`, the conversation that a spending limit per thread counts for.

    Callback handlers and instrumentation see each wrapped call, and nothing twice. The wrapped LLMs get the cascade's
    `callback_manager` where they have no handlers of their own.

    Args:
        policy: A policy's folder, or a `CascadePolicy`.
        models: The policy's models, by name.
        query: Takes the text that is routed from the messages; by default, the last user turn's.
        sticky: Whether a conversation stays with its model: in a tool loop ("loop"), also from turn to turn ("thread").
        release: When a stream may show an answer that can be rejected: once it is "judged", or "early", once the
            estimator, reading along, is sure enough.
        prices: What a token of each model costs in USD.
        spend_limit: A cap on what calls may cost.

    Raises:
        ValueError: The pool is not the policy's, or a parameter makes no sense.
        AllModelsFailed: On a call, if no LLM could answer; it carries each LLM's own error.

    Example:
        >>> llm = CascadeLLM(policy="policy/", models={"small": small, "large": large})     # doctest: +SKIP
        >>> llm.complete("What is 2 + 2?").additional_kwargs["cascade"]["path"]             # doctest: +SKIP
        ['small']
    """

    policy: SkipValidation[Any] = Field(exclude=True, repr=False)
    models: SkipValidation[dict[str, LLM]] = Field(exclude=True, repr=False)  # an LLM shows its key
    query: SkipValidation[QueryExtractor | None] = Field(default=None, exclude=True)
    sticky: Literal["loop", "thread"] | None = "loop"
    release: Literal["judged", "early"] = "judged"
    prices: SkipValidation[dict[str, Price] | None] = Field(default=None, exclude=True)
    spend_limit: SpendLimit | None = Field(default=None, exclude=True)

    _policy_folder: str | None = PrivateAttr(default=None)

    def __init__(
        self,
        *,
        policy: ServablePolicy | str | os.PathLike[str],
        models: Mapping[str, LLM],
        query: QueryExtractor | None = None,
        sticky: Sticky | None = "loop",
        release: Release = "judged",
        prices: Mapping[str, Price] | None = None,
        spend_limit: SpendLimit | None = None,
        **kwargs: Any,
    ) -> None:
        found = cc.CascadePolicy.load(policy) if isinstance(policy, str | os.PathLike) else policy
        _check(models, found)
        if unknown := sorted(set(kwargs) - set(type(self).model_fields)):
            msg = f"CascadeLLM has no parameter {', '.join(unknown)}."
            raise ValueError(msg)
        super().__init__(
            policy=found,
            models=dict(models),
            query=query,
            sticky=sticky,
            release=release,
            prices=None if prices is None else dict(prices),
            spend_limit=spend_limit,
            **kwargs,
        )
        if found is not policy:
            self._policy_folder = os.fspath(cast("str", policy))
        prices_known = self.serving.prices
        if spend_limit is not None:
            check_priced(found, prices_known)
        if "callback_manager" in kwargs:
            self._share(None)

    def __setattr__(self, name: str, value: Any) -> None:
        before = self.__dict__.get("callback_manager")
        super().__setattr__(name, value)
        self.__dict__.pop("serving", None)
        if name == "callback_manager":
            self._share(before)

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied.__dict__.pop("serving", None)  # `model_copy` changes fields after it
        return copied

    def _share(self, before: CallbackManager | None) -> None:
        """Give the callback manager to the wrapped LLMs that have the one before, or no handlers of their own."""
        default = CallbackManager().handlers  # those of the settings
        for model in self.models.values():
            if model.callback_manager is before or model.callback_manager.handlers == default:
                model.callback_manager = self.callback_manager

    @cached_property
    def serving(self) -> Serving:
        """How it serves: the same from call to call."""
        prices = token_prices(self.prices, self.policy)
        return Serving(self.policy, prices, self.spend_limit, self.sticky, self.release, _REMEDY)

    # — what it says about itself —

    @classmethod
    def class_name(cls) -> str:
        """Name of the class, as LlamaIndex knows it."""
        return "CascadeLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What one of the last resorts can do, within the smallest of their limits.

        Last resorts are the models whose answer stands: they are asked when the others cannot answer.
        """
        last = [self.models[name].metadata for name in self.policy.last_resorts]
        return LLMMetadata(
            context_window=min(one.context_window for one in last),
            num_output=min(one.num_output for one in last),
            is_chat_model=True,
            is_function_calling_model=any(one.is_function_calling_model for one in last),
            model_name=f"cascade-{self.policy.fingerprint}",
        )

    def to_payload(self) -> dict[str, Any]:
        """What events and callbacks show of it; no secrets."""
        return {**super().to_payload(), "models": {name: one.class_name() for name, one in self.models.items()}}

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The cascade as data, without secrets.

        Left open is a model that LlamaIndex cannot load by its class, and a policy that did not come from a folder.
        """
        data = {"policy": self._policy_folder, "models": models_to_dict(self.models)}
        prices = None if self.prices is None else {name: vars(one) for name, one in self.serving.prices.items()}
        return {**super().to_dict(**kwargs), **data, "prices": prices}

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, models: Mapping[str, LLM] | None = None, **kwargs: Any) -> Self:
        """Make a cascade from what `to_dict` returned.

        Args:
            data: The data.
            models: Models that it leaves open, or that stand in for its own.
            kwargs: Parameters of `CascadeLLM`, instead of those in the data.

        Raises:
            ValueError: The policy or a model is neither in the data nor given.
        """
        if data["policy"] is None and "policy" not in kwargs:
            msg = "The data does not hold the policy: give it again, CascadeLLM.from_dict(data, policy=...)."
            raise ValueError(msg)
        known = {name: value for name, value in data.items() if name in cls.model_fields and name != "models"}
        prices = known.pop("prices", None)
        if prices is not None:
            known["prices"] = {name: cc.TokenPrice(**price) for name, price in prices.items()}
        return cls(**{**known, "models": models_from_dict(data["models"], models or {}), **kwargs})

    # — the call —

    def _new_call(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any], *, live: bool = False) -> Call:
        given = kwargs.pop("cascade", None)
        thread = given.get("thread") if isinstance(given, Mapping) else None
        others = {key: given[key] for key in given if key != "thread"} if isinstance(given, Mapping) else given
        settings = CallSettings.read(others, "Beside thread, cascade=")
        request = Request(list(messages), kwargs, kwargs.pop(_TOOLS, None))

        def turn_of() -> Turn:
            return self._turn_of(request, settings, thread, live=live)

        return Call(self.serving, self.models, request, turn_of)

    def _turn_of(self, request: Request, settings: CallSettings, thread: Any, *, live: bool) -> Turn:
        messages, tools = request.messages, request.tools
        text = (self.query or last_user_text)(messages)
        length = tokens_about(messages)
        needs = Needs(frozenset({frozenset({"tool_calling"})}) if tools else frozenset(), length)
        pool = {name: _capabilities(model) for name, model in self.models.items()}
        return Turn(
            text=text,
            whole="" if text.strip() else whole_text(messages),
            settings=settings,
            able=frozenset(self.models) if settings.model else able_models(needs, pool),
            last=incumbent(messages, self.policy.models) if self.sticky else None,
            roles=roles_without_user(messages),
            thread=None if thread is None else str(thread),
            prompt_tokens=length,
            max_tokens=request.kwargs.get("max_tokens"),
            tools=tools.schemas if tools else None,
            must_call=tools is not None and tools.forced,
            made_calls=seen_calls(messages, self.models, self.policy.models[-1]),
            shaped=tools is not None,
            live=live,
        )

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


def _check(models: Mapping[str, Any], policy: ServablePolicy) -> None:
    check_names(models, policy)
    for name, model in models.items():
        if not isinstance(model, LLM):
            msg = f"{name} is no LlamaIndex LLM: found {type(model).__name__}."
            raise ValueError(msg)


def _capabilities(model: LLM) -> Capabilities:
    metadata = model.metadata
    lacking = frozenset() if metadata.is_function_calling_model else frozenset({"tool_calling"})
    return Capabilities(lacking, max_input_tokens=metadata.context_window)
