"""One call of a chat model on its way through the cascade, in LangChain's words; the drivers do the calling."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

from langchain_core.callbacks import AsyncParentRunManager, BaseCallbackManager, ParentRunManager
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

from cascade_components.answers import Answer
from cascade_components.deciding import decide, decide_on
from cascade_components.serving.call import ServedCall
from cascade_components.serving.lanes import Lanes
from langchain_cascade import wrapped
from langchain_cascade.answers import answer_of
from langchain_cascade.base import CascadeBase
from langchain_cascade.cache import cache_key, cache_of, recalled
from langchain_cascade.history import provider_of, sanitize_history
from langchain_cascade.listeners import DRAFT_TAGS, SHADOW_TAGS, muted, streams_tokens
from langchain_cascade.messages import AnswerStream, as_chunk, last_chunk, with_blocks
from langchain_cascade.request import Request
from langchain_cascade.tools import ChatRunnable, adapt, has_format, innermost, resolved
from langchain_cascade.unfinished import ended_if_cancelled
from langchain_cascade.usage import total_usage, usage_of


@dataclass(frozen=True)
class Received:
    """A wrapped model's answer: its message, and what was parsed of it where a schema was asked for."""

    message: AIMessage
    parsed: Any = None
    parsing_error: BaseException | None = None


class Call:
    """The state of one call; it lives no longer than the call."""

    def __init__(self, host: CascadeBase, request: Request) -> None:
        self.host = host
        self.request = request
        self.cache = None if request.live or request.schema is not None else cache_of(host.cache)
        """As in any chat model, streams are not cached; nor is structured output, whose parts are no messages."""
        self._recalled: AIMessage | None = None
        self._served: ServedCall | None = None
        self._abandoned = False
        self._blocks = host.output_version == "v1"
        self._stream = AnswerStream(blocks=False)
        self._streamed = False

    # — the cache —

    @property
    def cache_key(self) -> tuple[str, str]:
        """Where LangChain's LLM cache keeps this call's answer."""
        policy = self.host.serving.policy_for(self.request.settings, self.request.thread)
        return cache_key(self.request, str(self.host.identity_of(policy)))

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

    @property
    def served(self) -> ServedCall:
        """What decides; there once the call has begun."""
        if self._served is None:
            msg = "The call has not begun."
            raise RuntimeError(msg)
        return self._served

    @cached_property
    def text(self) -> str:
        """What is routed."""
        return self.host.routed_text(self.request.messages)

    def begin(self, run: ParentRunManager | AsyncParentRunManager) -> None:
        """Choose the first model; `run` holds those of the wrapped models."""
        self._run = run
        self._served = ServedCall(self.host.serving, self.host.turn_of(self.request, self.text))
        streams = self.host.streaming if self.host.streaming is not None else streams_tokens(run.handlers)
        self._served.begin(heard=streams)
        if self._abandoned:  # meanwhile, by a caller who did not wait for another thread's decision
            self._served.abandon()

    async def abegin(self, run: AsyncParentRunManager) -> None:
        """`begin`, off the event loop."""
        if self.host.query is not None:
            await decide(lambda: self.text)  # the user's own code
        text = "" if self.request.settings.model else self.text
        await decide_on(text, self.host.policy, self.begin, run)

    def judge(self) -> None:
        """Judge the answer that came last: it stands, or another model is asked."""
        last = self.served.passes[-1]
        answer = answer_of(last.answer.message, last.model)
        unparsed = tuple(
            {"name": call["name"], "args": call["args"]} for call in last.answer.message.invalid_tool_calls
        )
        self.served.judge(
            replace(answer, tool_calls=answer.tool_calls + unparsed), parsed=self._has_structure(last.answer)
        )

    def _has_structure(self, received: Received) -> bool:
        """Whether an answer has the structure that was asked for, if any was."""
        schema, calls = self.request.schema, received.message.tool_calls
        if schema is not None:
            called = bool(calls) and "tools" in schema.kwargs  # tools beside the schema: a call is an answer, too
            return received.parsing_error is None and (called or schema.fits(received.parsed))
        return bool(calls) or has_format(str(received.message.text), self.request.response_format)

    def abandon(self) -> None:
        """The caller gave the call up."""
        self._abandoned = True
        if self._served is not None:
            self._served.abandon()

    # — one pass —

    @property
    def lanes(self) -> Lanes:
        """Threads for calls that may be given up."""
        return self.host.health.lanes

    def wait_turn(self) -> None:
        """Wait for the cascade's own rate limiter."""
        if self.host.rate_limiter is not None:
            self.host.rate_limiter.acquire(blocking=True)

    async def await_turn(self) -> None:
        """`wait_turn`, async."""
        if self.host.rate_limiter is not None:
            await self.host.rate_limiter.aacquire(blocking=True)

    def asks(self, model: str, *, rival: bool) -> Callable[[], Any]:
        """Prepare the call of a model."""
        prepared = self._prepared(model, rival=rival)

        def ask() -> Any:
            if rival:
                self.wait_turn()
            return wrapped.invoke(*prepared)

        return ask

    def aasks(self, model: str, *, rival: bool) -> Callable[[], Awaitable[Any]]:
        """`asks`, async."""
        prepared = self._prepared(model, rival=rival)

        async def ask() -> Any:
            if rival:
                await self.await_turn()
            return await ended_if_cancelled(*prepared)

        return ask

    def streams(self, model: str) -> Generator[Any]:
        """Call a model by a stream."""
        return wrapped.stream(*self._prepared(model))

    def astreams(self, model: str) -> AsyncGenerator[Any]:
        """`streams`, async."""
        return wrapped.astream(*self._prepared(model))

    def _prepared(self, name: str, *, rival: bool = False) -> tuple[ChatRunnable, list[BaseMessage], RunnableConfig]:
        """A model as it is called for an answer, its messages, and a config under the call's run."""
        request, served = self.request, self.served
        if not rival:
            self._stream, self._streamed = AnswerStream(blocks=self._blocks), False
        held, callbacks = rival or served.held, cast("BaseCallbackManager", self._run.get_child())
        heard = muted(callbacks, streamed=served.streaming) if held else callbacks
        config = patch_config(request.config, callbacks=heard)
        decision = {"cascade_model": name, "cascade_reason": served.trace.reasons[-1]}
        config["metadata"] = {**config["metadata"], **decision}
        if held:
            config["tags"] = [*config["tags"], *DRAFT_TAGS]
        return self._bound(name, config)

    def _bound(self, name: str, config: RunnableConfig) -> tuple[ChatRunnable, list[BaseMessage], RunnableConfig]:
        """A model with tools, schema and call arguments bound to it, its messages and its config."""
        request = self.request
        model = resolved(self.host.models[name], config)
        messages, kwargs = self._messages_for(model), {**request.kwargs, **self._stream_argument(model)}
        for wanted in (request.schema, request.tools):
            if wanted is not None:
                return adapt(model, wanted.bind_to, kwargs), messages, config
        return model.bind(**kwargs) if kwargs else model, messages, config

    def _stream_argument(self, model: ChatRunnable) -> dict[str, bool]:
        """LangChain's switch for how `invoke` gets its answer: streamed inside, whole, or as the model likes."""
        if self.served.streaming:
            return {}
        if self.served.held:
            # A model that was built to stream would stream its draft to every callback.
            return {"stream": False} if getattr(innermost(model), "streaming", False) else {}
        return {} if self.host.streaming is None else {"stream": self.host.streaming}

    def _messages_for(self, model: ChatRunnable) -> list[BaseMessage]:
        """The conversation, readable for the model's provider."""
        provider = provider_of(innermost(model))
        messages = self.request.messages
        return messages if provider is None else sanitize_history(messages, provider, author=self.host.author_of)

    def receive(self, model: str, answer: Any) -> None:
        """Take a whole answer: a message, or raw and parsed where a schema was asked for."""
        if self.request.schema is None:
            self._keep(model, answer)
        else:
            self._keep(model, answer["raw"], answer["parsed"], answer["parsing_error"])

    def take(self, part: AIMessage) -> bool:
        """Take one chunk of a stream; say whether a held answer has come so far that it may be released."""
        self._stream.take(part)
        return self.served.read(self._stream.text)

    def consider_release(self) -> None:
        """Release a held answer if what has come of it is good enough."""
        so_far, model = self._stream.whole(), self.served.trace.model
        self.served.consider_release(Answer("", model=model) if so_far is None else answer_of(so_far, model))

    def ready(self) -> list[AIMessageChunk]:
        """The chunks of a stream that the caller gets now."""
        if self.served.held:
            return []
        found = self._stream.ready()
        self.served.seen = self._stream.seen
        return found

    def end_stream(self) -> None:
        """The stream is complete: its chunks are the answer.

        Raises:
            ValueError: There were none.
        """
        whole, model = self._stream.whole(), self.served.trace.model
        if whole is None:
            msg = f"{model} streamed no chunk."
            raise ValueError(msg)
        self._keep(model, message_chunk_to_message(whole))
        self._streamed = True

    def restarted(self) -> list[AIMessageChunk]:
        """The chunk that tells the reader of a broken stream that another answer begins, if one does."""
        mark = self.served.restart
        if mark is None:
            return []
        content: Any = [] if self._blocks else ""
        return [AIMessageChunk(content=content, response_metadata={"cascade_restart": [mark]})]

    def _keep(self, model: str, message: Any, parsed: Any = None, parsing_error: BaseException | None = None) -> None:
        if not isinstance(message, AIMessage):
            msg = f"{model} returned no message of a chat model but {type(message).__name__}."
            raise TypeError(msg)
        usage = message.usage_metadata
        told = cast("dict[str, Any] | None", usage)
        self.served.close_pass(Received(message, parsed, parsing_error), usage_of(usage), told, model=model)

    # — the shadow —

    @property
    def answer_text(self) -> str:
        """The text of the answer that stands."""
        return str(self.accepted.message.text)

    def shadow_asks(self, model: str) -> Callable[[], str]:
        """Prepare a call of a model that no callback of the caller's hears."""
        shadowed = self._shadowed(model)
        return lambda: _text(wrapped.invoke(*shadowed))

    def ashadow_asks(self, model: str) -> Callable[[], Awaitable[str]]:
        """`shadow_asks`, async."""
        shadowed = self._shadowed(model)

        async def ask() -> str:
            return _text(await wrapped.ainvoke(*shadowed))

        return ask

    def _shadowed(self, name: str) -> tuple[ChatRunnable, list[BaseMessage], RunnableConfig]:
        mine: RunnableConfig = {
            "callbacks": [],
            "tags": list(SHADOW_TAGS),
            "metadata": {"cascade_model": name},
            "run_name": "cascade_shadow",
        }
        config: RunnableConfig = {**self.request.config, **mine}
        config.pop("run_id", None)
        return self._bound(name, config)

    # — the outcome —

    @property
    def accepted(self) -> Received:
        """The answer that stands."""
        return cast("Received", self.served.accepted.answer)

    @cached_property
    def message(self) -> AIMessage:
        """The final message: the accepted answer, with the usage of every pass and the trace."""
        if self._recalled is not None:
            return self._recalled
        message = message_chunk_to_message(self.accepted.message)
        metadata = {**message.response_metadata, "cascade": self.served.summary()}
        usage = total_usage(one.usage for one in self.served.passes)
        changes = {"usage_metadata": usage, "response_metadata": metadata}
        final = cast("AIMessage", message.model_copy(update=changes))
        return with_blocks(final) if self._blocks else final

    def partial(self) -> AIMessageChunk | None:
        """As much of an answer as was streamed before the caller gave it up."""
        return self._stream.whole()

    def last_chunks(self) -> list[AIMessageChunk]:
        """What ends the caller's stream: the rest of a streamed answer, or the whole of a held one."""
        streamed = self._streamed and self.served.accepted is self.served.passes[-1]
        return [*self._stream.rest(), last_chunk(self.message)] if streamed else [as_chunk(self.message)]


def _text(answer: Any) -> str:
    """The text of a wrapped model's answer, with or without a schema."""
    return str((answer["raw"] if isinstance(answer, dict) else answer).text)
