"""One call of an LLM on its way through the cascade, in LlamaIndex's words; the drivers do the calling."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing, closing, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.span import active_span_id
from llama_index.core.llms.function_calling import FunctionCallingLLM

from cascade_components.deciding import decide, decide_on
from cascade_components.serving.account import Usage
from cascade_components.serving.call import ServedCall
from cascade_components.serving.lanes import Lanes
from llama_index.llms.cascade.base import CascadeBase
from llama_index.llms.cascade.events import CascadeEndEvent
from llama_index.llms.cascade.request import Request
from llama_index.llms.cascade.responses import (
    CascadeMessage,
    answer_of,
    finish_reason,
    larger,
    usage_of,
    usage_words,
)

_dispatcher = get_dispatcher(__name__)


class Call:
    """The state of one call; it lives no longer than the call."""

    def __init__(self, host: CascadeBase, request: Request) -> None:
        self._host = host
        self._request = request
        self._span = active_span_id.get()
        self._waiting: list[ChatResponse] = []
        self._last: ChatResponse | None = None
        self._usage: Usage | None = None
        self._finish: str | None = None
        self._streamed = False
        self._abandoned = False
        self.served: ServedCall

    @contextmanager
    def span(self) -> Iterator[None]:
        """Under which the LLMs are called: the caller's, which has ended once a stream is read."""
        token = active_span_id.set(self._span)
        try:
            yield
        finally:
            active_span_id.reset(token)

    @cached_property
    def text(self) -> str:
        """What is routed."""
        return self._host.routed_text(self._request.messages)

    def begin(self) -> None:
        """Choose the first LLM."""
        self.served = ServedCall(self._host.serving, self._host.turn_of(self._request, self.text))
        self.served.begin()
        if self._abandoned:  # meanwhile, by a caller who did not wait for another thread's decision
            self.served.abandon()

    async def abegin(self) -> None:
        """`begin`, off the event loop."""
        if self._host.query is not None:
            await decide(lambda: self.text)  # the user's own code
        text = "" if self._request.settings.model else self.text
        await decide_on(text, self._host.policy, self.begin)

    def abandon(self) -> None:
        """The caller gave the call up."""
        self._abandoned = True
        if hasattr(self, "served"):
            self.served.abandon()

    # — one pass —

    @property
    def lanes(self) -> Lanes:
        """Threads for calls that may be given up."""
        return self._host.health.lanes

    def wait_turn(self) -> None:
        """LlamaIndex's rate limiters are the LLMs' own."""

    async def await_turn(self) -> None:
        """`wait_turn`, async."""

    def asks(self, model: str, *, rival: bool) -> Callable[[], ChatResponse]:  # noqa: ARG002
        """Prepare the call of an LLM."""
        chat = self._prepared(model, "chat")

        def ask() -> ChatResponse:
            with self.span():
                return cast("ChatResponse", chat())

        return ask

    def aasks(self, model: str, *, rival: bool) -> Callable[[], Awaitable[ChatResponse]]:  # noqa: ARG002
        """`asks`, async."""
        chat = self._prepared(model, "achat")

        async def ask() -> ChatResponse:
            with self.span():
                return cast("ChatResponse", await chat())

        return ask

    def streams(self, model: str) -> Generator[ChatResponse]:
        """Call an LLM by a stream."""
        self._reset()
        with self.span():
            parts = self._prepared(model, "stream_chat")()
        with closing(parts):
            yield from parts

    async def astreams(self, model: str) -> AsyncGenerator[ChatResponse]:
        """`streams`, async."""
        self._reset()
        with self.span():
            parts = await self._prepared(model, "astream_chat")()
        async with aclosing(parts):
            async for part in parts:
                yield part

    def _reset(self) -> None:
        self._waiting, self._last, self._usage, self._finish = [], None, None, None
        self._streamed = False

    def _prepared(self, model: str, way: str) -> Callable[[], Any]:
        """The call of an LLM.

        Args:
            model: Its name in the pool.
            way: `chat`, `achat`, `stream_chat` or `astream_chat`.
        """
        llm = self._host.models[model]
        tools, messages, kwargs = self._request.tools, list(self._request.messages), dict(self._request.kwargs)
        if tools is None:
            return lambda: getattr(llm, way)(messages, **kwargs)
        if not isinstance(llm, FunctionCallingLLM):
            msg = f"{model} ({llm.class_name()}) cannot call tools."
            raise TypeError(msg)
        return lambda: getattr(llm, f"{way}_with_tools")(
            list(tools.tools),
            chat_history=messages,
            allow_parallel_tool_calls=tools.parallel,
            tool_required=tools.required,
            **tools.kwargs,
            **kwargs,
        )

    def receive(self, model: str, answer: ChatResponse) -> None:
        """Take a whole answer."""
        self._reset()
        self._keep(model, answer)

    def _keep(self, model: str, answer: ChatResponse) -> None:
        self._read(answer)
        self.served.close_pass(answer, self._usage, usage_words(self._usage), model=model)

    def _read(self, response: ChatResponse) -> None:
        """Keep what is told beside the answer: some streams tell it before their last part."""
        self._usage = larger(self._usage, usage_of(response))
        self._finish = finish_reason(response) or self._finish

    def take(self, part: ChatResponse) -> bool:
        """Take a part of a stream; say whether a held answer has come so far that it may be released."""
        self._read(part)
        self._last = part
        self._waiting.append(self._marked(part))
        return self.served.read(part.message.content or "")

    def consider_release(self) -> None:
        """Release a held answer if what has come of it is good enough."""
        model, so_far = self.served.trace.model, cast("ChatResponse", self._last)
        self.served.consider_release(answer_of(so_far, model, self._host.models[model]))

    def ready(self) -> list[ChatResponse]:
        """The parts of a stream that the caller gets now: none before there is something to see."""
        if self.served.held or not (self.served.seen or any(map(_shows, self._waiting))):
            return []
        self.served.seen = True
        ready, self._waiting = self._waiting, []
        return ready

    def end_stream(self) -> None:
        """The stream is complete: its last part is the answer.

        Raises:
            ValueError: There was none.
        """
        if self._last is None:
            msg = f"{self.served.trace.model} streamed nothing."
            raise ValueError(msg)
        self._keep(self.served.trace.model, self._last)
        self._streamed = True

    def restarted(self) -> list[ChatResponse]:
        """The response that tells the reader of a broken stream that another answer begins, if one does."""
        mark = self.served.restart
        if mark is None:
            return []
        empty = ChatMessage(role=MessageRole.ASSISTANT, blocks=[])
        return [ChatResponse(message=empty, delta="", additional_kwargs={"cascade_restart": [mark]})]

    def judge(self) -> None:
        """Judge the answer that came last: it stands, or another LLM is asked."""
        last = self.served.passes[-1]
        answer = answer_of(last.answer, last.model, self._host.models[last.model])
        tokens = self._usage.output_tokens if self._usage else None
        self.served.judge(replace(answer, output_tokens=tokens, finish_reason=self._finish))

    # — the shadow —

    @property
    def answer_text(self) -> str:
        """The text of the answer that stands."""
        return self.response.message.content or ""

    def shadow_asks(self, model: str) -> Callable[[], str]:
        """Prepare a call of an LLM beside the caller's; its own callbacks hear it."""
        chat = self._prepared(model, "chat")
        return lambda: chat().message.content or ""

    def ashadow_asks(self, model: str) -> Callable[[], Awaitable[str]]:
        """`shadow_asks`, async."""
        chat = self._prepared(model, "achat")

        async def ask() -> str:
            return (await chat()).message.content or ""

        return ask

    # — the outcome —

    @cached_property
    def response(self) -> ChatResponse:
        """The final response: the accepted answer, and in `additional_kwargs["cascade"]` how it came about."""
        accepted = self.served.accepted
        tokens = accepted.usage["input_tokens"] + accepted.usage["output_tokens"] if accepted.usage else 0
        response = cast("ChatResponse", accepted.answer)
        return response.model_copy(
            update={
                "message": CascadeMessage.of(response.message, accepted.model, tokens),
                "additional_kwargs": {**response.additional_kwargs, "cascade": self.served.summary()},
            }
        )

    def tell(self) -> None:
        """Tell LlamaIndex's instrumentation how the answer came about."""
        with self.span():
            _dispatcher.event(CascadeEndEvent(trace=self.served.summary()))

    def last_parts(self) -> list[ChatResponse]:
        """What ends the caller's stream: the rest of a streamed answer, or the whole of a held one; then the trace."""
        streamed = self._streamed and self.served.accepted is self.served.passes[-1]
        delta = "" if streamed else self.response.message.content or ""
        last = self.response.model_copy(update={"delta": delta})
        if self._request.tools and self._request.tools.structured:
            # Where LlamaIndex looks for tool calls in a stream of objects.
            calls = [block.model_dump() for block in last.message.blocks if isinstance(block, ToolCallBlock)]
            last.message.additional_kwargs.setdefault("tool_calls", calls)
        return [*(self._waiting if streamed else ()), last]

    def _marked(self, response: ChatResponse) -> ChatResponse:
        """A part of a stream that says which LLM gave it, so that its tool calls can be read."""
        extra = {**response.additional_kwargs, "cascade": {"model": self.served.trace.model}}
        return response.model_copy(update={"additional_kwargs": extra})


def _shows(response: ChatResponse) -> bool:
    """Whether a reader of the stream would notice this part."""
    message = response.message
    calls = message.additional_kwargs.get("tool_calls") or any(isinstance(one, ToolCallBlock) for one in message.blocks)
    return bool(response.delta or message.content or calls)
