"""One call on its way through the cascade. Decides and remembers; the drivers do the calling."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

from cascade_components.cascade import AllModelsFailed, Cascade
from cascade_components.quality.checks import failed_checks
from cascade_components.quality.prefixes import checkpoint
from cascade_components.spending import SpendLimitError
from cascade_components.trace import Trace
from langchain_cascade.account import Account
from langchain_cascade.answers import answer_of
from langchain_cascade.base import CascadeBase
from langchain_cascade.cache import cache_key, cache_of, recalled
from langchain_cascade.history import provider_of, sanitize_history, seen_calls
from langchain_cascade.listeners import DRAFT_TAGS, muted, streams_tokens
from langchain_cascade.messages import AnswerStream, as_chunk, last_chunk, with_blocks
from langchain_cascade.passes import Pass, summary, total_usage
from langchain_cascade.pool import ServablePolicy
from langchain_cascade.request import Request
from langchain_cascade.tools import ChatRunnable, adapt, has_format, innermost, resolved


class Call:
    """The state of one call; it lives no longer than the call."""

    def __init__(self, host: CascadeBase, request: Request, policy: ServablePolicy) -> None:
        self.host = host
        self.request = request
        self.passes: list[Pass] = []
        self.trace: Trace
        self._policy = policy
        self._cascade = Cascade(policy)
        self._account = Account(policy, host.token_prices, host.spend_limit, request)
        self._blocks = host.output_version == "v1"
        self.cache = None if request.live or request.schema is not None else cache_of(host.cache)
        """As in any chat model, streams are not cached; nor is structured output, whose parts are no messages."""
        self._recalled: AIMessage | None = None
        self._heard = False
        self._released = False
        self._checkpoint: int | None = None
        self._stream = AnswerStream(blocks=False)
        self._started = 0.0

    # — the cache —

    @property
    def done(self) -> bool:
        """Whether the answer stands."""
        return self.recalled or self.trace.done

    @property
    def cache_key(self) -> tuple[str, str]:
        """Where LangChain's LLM cache keeps this call's answer."""
        return cache_key(self.request, str(self.host.identity_of(self._policy)))

    def recall(self, found: Sequence[Generation] | None) -> None:
        """Take what the cache kept, if it kept anything."""
        self._recalled = recalled(found)

    @property
    def recalled(self) -> bool:
        """Whether the cache had the answer."""
        return self._recalled is not None

    @property
    def generations(self) -> list[Generation]:
        """The answer as a cache keeps it."""
        return [ChatGeneration(message=self.message)]

    # — decisions —

    def begin(self, handlers: list[BaseCallbackHandler]) -> None:
        """Choose the first model; `handlers` are those of the run."""
        streams = self.host.streaming if self.host.streaming is not None else streams_tokens(handlers)
        self._heard = self.request.live or streams
        self.trace = self.host.opening(self._policy, self.request, self.host.able_models(self.request), self._account)

    @property
    def held(self) -> bool:
        """Whether the answer of the model asked now can still be rejected, so that nobody may see it yet.

        An estimator or a check rejects it. What is streamed cannot be taken back: where no estimator reads the
        answer and somebody reads the stream, checks reject only where tools or a schema are at stake.
        """
        if self._released:
            return False
        checked = self.request.shaped or not self._heard
        return self.trace.gated or (checked and self._cascade.can_escalate(self.trace))

    @property
    def streaming(self) -> bool:
        """Whether the model asked now is asked for a stream: the caller reads along, now or once it is released."""
        return self.request.live and (not self.held or self.host.release == "early")

    def judge(self) -> None:
        """Judge the answer that came last: it stands, or another model is asked."""
        last = self.passes[-1]
        answer = answer_of(last.message, last.model)
        failed = self._failed_checks(last)
        payable = self._account.payable(self.trace.available)
        self.trace = replace(self.trace, available=payable)
        if not failed or not self._cascade.can_escalate(self.trace) or not self._seen(failed):
            self.trace = self._cascade.judge(self.trace, answer, failed_checks=failed)
            return
        trace = self._cascade.judge(self.trace, answer)
        note = f"it failed the check {', '.join(failed)} after it had been streamed"
        self.trace = replace(trace, failed_checks=(*trace.failed_checks, *failed), reasons=(*trace.reasons, note))

    def _failed_checks(self, last: Pass) -> tuple[str, ...]:
        tools = self.request.tools
        answer = answer_of(last.message, last.model)
        unparsed = tuple({"name": call["name"], "args": call["args"]} for call in last.message.invalid_tool_calls)
        return failed_checks(
            replace(answer, tool_calls=answer.tool_calls + unparsed),
            tools=tools.schemas if tools else None,
            parsed=self._parsed(last),
            made_calls=seen_calls(self.request.messages),
            must_call=tools is not None and tools.forced,
        )

    def _parsed(self, last: Pass) -> bool:
        """Whether an answer has the structure that was asked for, if any was."""
        schema, calls = self.request.schema, last.message.tool_calls
        if schema is not None:
            called = bool(calls) and "tools" in schema.kwargs  # tools beside the schema: a call is an answer, too
            return last.parsing_error is None and (called or schema.fits(last.parsed))
        return bool(calls) or has_format(str(last.message.text), self.request.response_format)

    def _seen(self, failed: tuple[str, ...]) -> bool:
        """Whether somebody has seen something of the answer that came last."""
        if self.streaming:
            return self._stream.seen
        return self._heard and not self.held and "empty" not in failed

    def fail(self, error: Exception) -> None:
        """The model asked last raised `error`: choose another one.

        Raises:
            AllModelsFailed: Nobody is left to ask.
            SpendLimitError: Nobody is left who can be paid.
            Exception: `error` itself, if part of the answer has been streamed: it cannot be taken back.
        """
        self._account.close(0.0)
        if self._stream.seen:
            error.add_note(
                f"{self.trace.model} failed after part of its answer had been streamed; nobody else was asked."
            )
            raise error
        try:
            self.trace = self._cascade.fail(self.trace, error)
        except AllModelsFailed:
            if isinstance(error, SpendLimitError):
                raise error from None
            raise

    def abandon(self) -> None:
        """The caller gave the call up: what its open pass cost, nobody knows."""
        self._account.close(None)

    # — one pass —

    def next_pass(self, callbacks: BaseCallbackManager) -> tuple[ChatRunnable, list[BaseMessage], RunnableConfig]:
        """The model to call now, with tools, schema and call arguments bound to it, its messages and its config.

        Raises:
            SpendLimitError: The call would go over the limit.
        """
        request, name = self.request, self.trace.model
        self._stream, self._released, self._checkpoint = AnswerStream(blocks=self._blocks), False, None
        self._account.reserve(name)
        self._started = time.perf_counter()
        heard = muted(callbacks, streamed=self.streaming) if self.held else callbacks
        config = patch_config(request.config, callbacks=heard)
        config["metadata"] = {**config["metadata"], "cascade_model": name, "cascade_reason": self.trace.reasons[-1]}
        if self.held:
            config["tags"] = [*config["tags"], *DRAFT_TAGS]
        model = resolved(self.host.models[name], config)
        messages, kwargs = self._messages_for(model), {**request.kwargs, **self._stream_argument(model)}
        for wanted in (request.schema, request.tools):
            if wanted is not None:
                return adapt(model, wanted.bind_to, kwargs), messages, config
        return model.bind(**kwargs) if kwargs else model, messages, config

    def _stream_argument(self, model: ChatRunnable) -> dict[str, bool]:
        """LangChain's switch for how `invoke` gets its answer: streamed inside, whole, or as the model likes."""
        if self.streaming:
            return {}
        if self.held:
            # A model that was built to stream would stream its draft to every callback.
            return {"stream": False} if getattr(innermost(model), "streaming", False) else {}
        return {} if self.host.streaming is None else {"stream": self.host.streaming}

    def _messages_for(self, model: ChatRunnable) -> list[BaseMessage]:
        """The conversation, readable for the model's provider."""
        provider = provider_of(innermost(model))
        messages = self.request.messages
        return messages if provider is None else sanitize_history(messages, provider, author=self.host.author_of)

    def receive(self, result: Any) -> None:
        """Take a whole answer: a message, or raw and parsed where a schema was asked for."""
        if self.request.schema is None:
            self._keep(result)
        else:
            self._keep(result["raw"], result["parsed"], result["parsing_error"])

    def take(self, chunk: AIMessage) -> bool:
        """Take one chunk of a stream; say whether a held answer has come so far that it may be released."""
        self._stream.take(chunk)
        if not self.held:
            return False
        if not self.trace.gated:
            return bool(self._stream.text.strip())
        before, self._checkpoint = self._checkpoint, checkpoint(self._stream.text)
        return self._checkpoint not in (None, before)

    def consider_release(self) -> None:
        """Release a held answer if the estimator is sure enough of what has come; without one, its text passes."""
        so_far = self._stream.whole()
        if so_far is not None and self.trace.gated:
            self.trace = self._cascade.release(self.trace, answer_of(so_far, self.trace.model))
        self._released = not self.trace.gated

    def ready(self) -> list[AIMessageChunk]:
        """The chunks of a stream that the caller gets now."""
        return [] if self.held else self._stream.ready()

    def end_stream(self) -> None:
        """The stream is complete: its chunks are the answer.

        Raises:
            ValueError: There were none.
        """
        whole = self._stream.whole()
        if whole is None:
            msg = f"{self.trace.model} streamed no chunk."
            raise ValueError(msg)
        self._keep(message_chunk_to_message(whole))

    def _keep(self, message: Any, parsed: Any = None, parsing_error: BaseException | None = None) -> None:
        if not isinstance(message, AIMessage):
            msg = f"{self.trace.model} returned no message of a chat model but {type(message).__name__}."
            raise TypeError(msg)
        latency_ms = (time.perf_counter() - self._started) * 1000
        name, reason = self.trace.model, self.trace.reasons[-1]
        cost = self._account.pay(name, message.usage_metadata)
        self.passes.append(Pass(name, message, reason, latency_ms, cost, parsed, parsing_error))

    # — the outcome —

    @property
    def accepted(self) -> Pass:
        """The pass whose answer stands."""
        return next(one for one in reversed(self.passes) if one.model == self.trace.model)

    @cached_property
    def message(self) -> AIMessage:
        """The final message: the accepted answer, with the usage of every pass and the trace."""
        if self._recalled is not None:
            return self._recalled
        message = message_chunk_to_message(self.accepted.message)
        metadata = {**message.response_metadata, "cascade": summary(self.trace, self.passes)}
        changes = {"usage_metadata": total_usage(self.passes), "response_metadata": metadata}
        final = cast("AIMessage", message.model_copy(update=changes))
        return with_blocks(final) if self._blocks else final

    def partial(self) -> AIMessageChunk | None:
        """As much of an answer as was streamed before the caller gave it up."""
        return self._stream.whole()

    def last_chunks(self) -> list[AIMessageChunk]:
        """What ends the caller's stream: the rest of a streamed answer, or the whole of a held one."""
        streamed = len(self._stream) > 0 and self.accepted is self.passes[-1]
        return [*self._stream.rest(), last_chunk(self.message)] if streamed else [as_chunk(self.message)]
