"""One call on its way through the cascade. Decides and remembers; the drivers do the calling."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

from cascade_components.cascade import Cascade, Trace
from cascade_components.quality.checks import failed_checks
from langchain_cascade.answers import answer_of
from langchain_cascade.listeners import DRAFT_TAGS, muted, streams_tokens
from langchain_cascade.messages import (
    BlockIndexer,
    Pass,
    QueryExtractor,
    as_chunk,
    has_content,
    last_chunk,
    passing_chunk,
    summary,
    tool_caller,
    total_usage,
    whole_text,
    with_blocks,
)
from langchain_cascade.pool import ServablePolicy
from langchain_cascade.settings import Settings
from langchain_cascade.tools import ChatRunnable, Schema, Tools, adapt, innermost


@dataclass(frozen=True)
class Request:
    """What the caller asked for: the same for every model."""

    messages: list[BaseMessage]
    config: RunnableConfig
    """Without the cascade's own settings."""
    settings: Settings
    kwargs: Mapping[str, Any]
    """Call arguments, handed to each wrapped model."""
    query: QueryExtractor
    name: str
    """Of the run that holds the wrapped models' runs."""
    callbacks: tuple[BaseCallbackHandler, ...] = ()
    """The chat model's own, beside those of the config."""
    verbose: bool = False
    tools: Tools | None = None
    schema: Schema | None = None
    live: bool = False
    """The caller reads the answer as it comes."""
    blocks: bool = False
    """The content is wanted as LangChain's standard blocks."""


class Call:
    """The state of one call; it lives no longer than the call."""

    def __init__(self, request: Request, policy: ServablePolicy, models: Mapping[str, ChatRunnable]) -> None:
        self.request = request
        self.models = models
        self.passes: list[Pass] = []
        self.trace: Trace
        self._policy = policy
        self._cascade = Cascade(policy)
        self._heard = request.live
        self._emitted = False
        self._chunks: list[AIMessageChunk] = []
        self._waiting: list[AIMessageChunk] = []
        self._indexed = BlockIndexer()
        self._started = 0.0

    # — decisions —

    def begin(self, handlers: list[BaseCallbackHandler]) -> None:
        """Choose the first model; `handlers` are those of the run."""
        request = self.request
        self._heard = request.live or streams_tokens(handlers)
        named, escalate = request.settings.model, request.settings.escalate
        text = request.query(request.messages)
        if not text.strip():
            text = whole_text(request.messages)
            if named is None:
                self.trace = self._by_name(text, self._policy.models[-1], "the query has no text to route")
                return
        self.trace = self._cascade.start(text, model=named, escalate=escalate)
        caller = tool_caller(request.messages)
        if named is None and caller in self._policy.models and caller != self.trace.model:
            self.trace = self._by_name(text, caller, "it made the tool call")

    def _by_name(self, text: str, model: str, reason: str) -> Trace:
        trace = self._cascade.start(text, model=model, escalate=self.request.settings.escalate)
        return replace(trace, reasons=(f"{model} is asked: {reason}",))

    @property
    def held(self) -> bool:
        """Whether the answer of the model asked now can still be rejected, so that nobody may see it yet.

        An estimator or a check rejects it. What is streamed cannot be taken back: where no estimator reads the
        answer and somebody reads the stream, checks reject only where tools or a schema are at stake.
        """
        at_stake = self.request.tools is not None or self.request.schema is not None
        return self.trace.gated or (self._cascade.can_escalate(self.trace) and (at_stake or not self._heard))

    @property
    def streaming(self) -> bool:
        """Whether the model asked now streams its answer to the caller."""
        return self.request.live and not self.held

    def judge(self) -> None:
        """Judge the answer that came last: it stands, or another model is asked."""
        last = self.passes[-1]
        tools, schema = self.request.tools, self.request.schema
        answer = answer_of(last.message, last.model)
        unparsed = tuple({"name": call["name"], "args": call["args"]} for call in last.message.invalid_tool_calls)
        answer = replace(answer, tool_calls=answer.tool_calls + unparsed)
        failed = failed_checks(
            answer,
            tools=tools.schemas if tools else None,
            parsed=schema is None or (last.parsed is not None and last.parsing_error is None),
        )
        if not failed or not self._cascade.can_escalate(self.trace) or not self._seen(failed):
            self.trace = self._cascade.judge(self.trace, answer, failed_checks=failed)
            return
        trace = self._cascade.judge(self.trace, answer)
        note = f"it failed the check {', '.join(failed)} after it had been streamed"
        self.trace = replace(trace, failed_checks=(*trace.failed_checks, *failed), reasons=(*trace.reasons, note))

    def _seen(self, failed: tuple[str, ...]) -> bool:
        """Whether somebody has seen something of the answer that came last."""
        if self.streaming:
            return self._emitted
        return self._heard and not self.held and "empty" not in failed

    def fail(self, error: Exception) -> None:
        """The model asked last raised `error`: choose another one.

        Raises:
            AllModelsFailed: Nobody is left to ask.
            Exception: `error` itself, if part of the answer has been streamed: it cannot be taken back.
        """
        if self._emitted:
            error.add_note(
                f"{self.trace.model} failed after part of its answer had been streamed; nobody else was asked."
            )
            raise error
        self.trace = self._cascade.fail(self.trace, error)

    # — one pass —

    def next_pass(self, callbacks: BaseCallbackManager) -> tuple[ChatRunnable, RunnableConfig]:
        """The model to call now, with tools, schema and call arguments bound to it, and its config."""
        request, name = self.request, self.trace.model
        model, kwargs = self.models[name], request.kwargs
        self._chunks, self._waiting, self._indexed = [], [], BlockIndexer()
        self._started = time.perf_counter()
        config = patch_config(request.config, callbacks=muted(callbacks) if self.held else callbacks)
        config["metadata"] = {**config["metadata"], "cascade_model": name}
        if self.held:
            config["tags"] = [*config["tags"], *DRAFT_TAGS]
            if getattr(innermost(model), "streaming", False):
                # A model built to stream would do so inside `invoke`, to every callback; this is LangChain's switch.
                kwargs = {**kwargs, "stream": False}
        for wanted in (request.schema, request.tools):
            if wanted is not None:
                return adapt(model, config, wanted.bind_to, kwargs), config
        return model.bind(**kwargs) if kwargs else model, config

    def receive(self, result: Any) -> None:
        """Take a whole answer: a message, or raw and parsed where a schema was asked for."""
        if self.request.schema is None:
            self._keep(result)
        else:
            self._keep(result["raw"], result["parsed"], result["parsing_error"])

    def receive_chunk(self, chunk: AIMessage) -> list[AIMessageChunk]:
        """Take one chunk of a stream; return those that the caller gets now.

        Nothing is passed on before there is something to see: until then, another model can take over.
        """
        self._chunks.append(as_chunk(chunk))
        passing = passing_chunk(self._chunks[-1])
        self._waiting.append(self._indexed(passing) if self.request.blocks else passing)
        if not self._emitted and not has_content(passing):
            return []
        self._emitted = True
        ready, self._waiting = self._waiting, []
        return ready

    def end_stream(self) -> None:
        """The stream is complete: its chunks are the answer.

        Raises:
            ValueError: There were none.
        """
        whole = self.partial()
        if whole is None:
            msg = f"{self.trace.model} streamed no chunk."
            raise ValueError(msg)
        self._keep(message_chunk_to_message(whole))

    def _keep(self, message: Any, parsed: Any = None, parsing_error: BaseException | None = None) -> None:
        if not isinstance(message, AIMessage):
            msg = f"{self.trace.model} returned no message of a chat model but {type(message).__name__}."
            raise TypeError(msg)
        latency_ms = (time.perf_counter() - self._started) * 1000
        usage, name = message.usage_metadata, self.trace.model
        cost = self._policy.cost_usd(name, usage["input_tokens"], usage["output_tokens"]) if usage else None
        self.passes.append(Pass(name, message, latency_ms, cost, parsed, parsing_error))

    # — the outcome —

    @property
    def accepted(self) -> Pass:
        """The pass whose answer stands."""
        return next(one for one in reversed(self.passes) if one.model == self.trace.model)

    @cached_property
    def message(self) -> AIMessage:
        """The final message: the accepted answer, with the usage of every pass and the trace."""
        message = message_chunk_to_message(self.accepted.message)
        metadata = {**message.response_metadata, "cascade": summary(self.trace, self.passes)}
        changes = {"usage_metadata": total_usage(self.passes), "response_metadata": metadata}
        final = cast("AIMessage", message.model_copy(update=changes))
        return with_blocks(final) if self.request.blocks else final

    def partial(self) -> AIMessageChunk | None:
        """As much of an answer as was streamed before the caller gave it up."""
        return add_ai_message_chunks(*self._chunks) if self._chunks else None

    def last_chunks(self) -> list[AIMessageChunk]:
        """What ends the caller's stream: the rest of a streamed answer, or the whole of a held one."""
        streamed = self._chunks and self.accepted is self.passes[-1]
        return [*self._waiting, last_chunk(self.message)] if streamed else [as_chunk(self.message)]
