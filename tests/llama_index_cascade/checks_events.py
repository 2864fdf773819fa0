"""Checks of what observers see: callback managers, token counters, and the instrumentation dispatcher."""

import asyncio

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.callbacks.schema import EventPayload
from llama_index.core.callbacks.token_counting import get_tokens_from_response
from llama_index.core.llms import MessageRole
from llama_index.core.prompts import PromptTemplate

from .contract import (
    CALLS,
    CHATS,
    COMPLETIONS,
    PATIENCE_S,
    PREDICTIONS,
    QUESTION,
    STRUCTURED,
    TOOL_CHATS,
    WEATHER,
    Behaviour,
    Contract,
    Report,
    ask,
    needs,
    text_of,
)
from .observers import ENDS, STARTS, Calls, dispatched

PROMPT = PromptTemplate("What is the weather in {city}?")


def arguments(way):
    """Positional and keyword arguments of a call that way."""
    if way in CHATS:
        return ([ChatMessage(QUESTION, role=MessageRole.USER)],), {}
    if way in COMPLETIONS:
        return (QUESTION,), {}
    if way in PREDICTIONS:
        return (PROMPT,), {"city": "Oslo"}
    return ((Report, PROMPT), {"city": "Oslo"}) if way in STRUCTURED else (([WEATHER], QUESTION), {})


async def ask_anything(llm, way):
    args, kwargs = arguments(way)
    return await ask(llm, way, *args, **kwargs)


async def abandon(llm, way):
    """Read one response of a stream, then close it."""
    args, kwargs = arguments(way)
    found = getattr(llm, way)(*args, **kwargs)
    if way.startswith("a"):
        found = await found
        await anext(found)
        await found.aclose()
    else:
        next(found)
        found.close()


plain_ways = pytest.mark.parametrize("way", [*CHATS, *COMPLETIONS, *PREDICTIONS])
tool_ways = pytest.mark.parametrize("way", [*TOOL_CHATS, *CALLS])
structured_ways = pytest.mark.parametrize("way", STRUCTURED)
basic_ways = pytest.mark.parametrize("way", [*CHATS, *COMPLETIONS])
streams = pytest.mark.parametrize("way", [way for way in (*CHATS, *COMPLETIONS) if "stream" in way])


class EventChecks(Contract):
    """What observers see."""

    async def _check_counted_once(self, backend, way):
        calls, counter = Calls(), TokenCountingHandler(tokenizer=str.split)
        await ask_anything(backend.make(callback_manager=CallbackManager([calls, counter])), way)
        assert calls.paired
        assert len(calls.starts) == len(counter.llm_token_counts) == self.calls_of(way)

    async def _check_dispatched_once(self, llm, way):
        with dispatched() as found:
            await ask_anything(llm, way)
        assert len(found.of(STARTS)) == len(found.of(ENDS)) == self.calls_of(way)
        assert found.unended == []

    @needs("counts_once")
    @plain_ways
    async def test_a_callback_manager_sees_each_call_once(self, backend, way):
        """A callback manager's handlers see one LLM event, begun and ended, for each call of a model."""
        await self._check_counted_once(backend, way)

    @needs("counts_once", "has_function_calling")
    @tool_ways
    async def test_a_callback_manager_sees_each_tool_call_once(self, backend, way):
        """The same with tools."""
        await self._check_counted_once(backend, way)

    @needs("counts_once", "has_structured_output")
    @structured_ways
    async def test_a_callback_manager_sees_each_structured_call_once(self, backend, way):
        """The same with a structure."""
        await self._check_counted_once(backend, way)

    @needs("counts_once")
    async def test_a_callback_manager_may_come_later(self, llm):
        """A callback manager that is set on the LLM, as `Settings` does it, is told of the next call."""
        calls = Calls()
        llm.callback_manager = CallbackManager([calls])
        await ask_anything(llm, "achat")
        assert len(calls.starts) == len(calls.ends) == self.calls_of("achat")

    @needs("counts_once", "reports_usage")
    @basic_ways
    async def test_a_token_counter_counts_the_reported_tokens(self, backend, way):
        """`TokenCountingHandler` counts the tokens that the answer reports, and those of earlier calls of models."""
        counter = TokenCountingHandler(tokenizer=str.split)
        llm = backend.make(callback_manager=CallbackManager([counter]))
        last = (await ask_anything(llm, way))[-1]
        counted = counter.llm_token_counts[-1]
        assert (counted.prompt_token_count, counted.completion_token_count) == get_tokens_from_response(last)
        assert all(one.total_token_count for one in counter.llm_token_counts)

    @needs("counts_once")
    @basic_ways
    async def test_an_event_holds_the_answer(self, backend, way):
        """The last LLM event ends with the answer that the caller got."""
        calls = Calls()
        last = (await ask_anything(backend.make(callback_manager=CallbackManager([calls])), way))[-1]
        payload = calls.ends[-1][1]
        assert text_of(payload.get(EventPayload.RESPONSE) or payload[EventPayload.COMPLETION]) == text_of(last)

    @needs("counts_once")
    @plain_ways
    async def test_the_dispatcher_sees_each_call_once(self, llm, way):
        """The dispatcher has one start and one end event for each call of a model."""
        await self._check_dispatched_once(llm, way)

    @needs("counts_once", "has_function_calling")
    @tool_ways
    async def test_the_dispatcher_sees_each_tool_call_once(self, llm, way):
        """The same with tools."""
        await self._check_dispatched_once(llm, way)

    @needs("counts_once", "has_structured_output")
    @structured_ways
    async def test_the_dispatcher_sees_each_structured_call_once(self, llm, way):
        """The same with a structure."""
        await self._check_dispatched_once(llm, way)

    @plain_ways
    async def test_spans_nest(self, llm, way):
        """A call is one tree of spans, all closed, with the called method at its root."""
        with dispatched() as found:
            await ask_anything(llm, way)
        assert found.spans.open_spans == {}
        assert found.orphans == []
        if self.nests_streams or "stream" not in way:
            assert [span.id_.rsplit("-", 5)[0] for span in found.roots] == [f"{type(llm).__name__}.{way}"]

    @needs("has_function_calling", "has_structured_output")
    @pytest.mark.parametrize("way", [*TOOL_CHATS, *CALLS, *STRUCTURED])
    async def test_spans_close(self, llm, way):
        """A call with tools or a structure leaves no span open, and none without its parent."""
        with dispatched() as found:
            await ask_anything(llm, way)
        assert found.roots
        assert found.spans.open_spans == {}
        assert found.orphans == []

    @needs("can_fail", "sends_prompts")
    @basic_ways
    async def test_an_error_ends_what_it_began(self, backend, way):
        """A call that fails leaves no event and no span open."""
        calls = Calls()
        llm = backend.make(Behaviour.FAILS, callback_manager=CallbackManager([calls]))
        with dispatched() as found, pytest.raises(self.error):
            await ask_anything(llm, way)
        self._check_ended(calls, found)

    @needs("can_fail", "streams_in_chunks")
    @streams
    async def test_a_broken_stream_ends_what_it_began(self, backend, way):
        """A stream that dies leaves no event and no span open."""
        calls = Calls()
        llm = backend.make(Behaviour.BREAKS, callback_manager=CallbackManager([calls]))
        with dispatched() as found, pytest.raises(self.error):
            await ask_anything(llm, way)
        self._check_ended(calls, found)

    @needs("closes_streams")
    @streams
    async def test_an_abandoned_stream_ends_what_it_began(self, backend, way):
        """A stream that is closed early leaves no event and no span open."""
        calls = Calls()
        llm = backend.make(callback_manager=CallbackManager([calls]))
        with dispatched() as found:
            await abandon(llm, way)
        self._check_ended(calls, found)

    @needs("true_async")
    @pytest.mark.parametrize("way", ["achat", "acomplete"])
    async def test_a_cancelled_call_ends_what_it_began(self, backend, way):
        """A call that is cancelled says so, and leaves no event and no span open."""
        calls = Calls()
        llm = backend.make(Behaviour.WAITS, callback_manager=CallbackManager([calls]))
        with dispatched() as found:
            task = asyncio.create_task(ask_anything(llm, way))
            async with asyncio.timeout(PATIENCE_S):
                while not backend.peak:  # noqa: ASYNC110  # the model may be in another thread
                    await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        self._check_ended(calls, found)

    def _check_ended(self, calls, found):
        assert calls.starts
        assert calls.paired
        assert found.unended == []
        assert found.spans.open_spans == {}
        assert found.orphans == []

    @needs("secret")
    @basic_ways
    async def test_no_secret_is_told(self, backend, way):
        """No event holds the secret."""
        calls = Calls()
        llm = backend.make(callback_manager=CallbackManager([calls]))
        with dispatched() as found:
            await ask_anything(llm, way)
        assert calls.starts
        assert self.secret not in repr([calls.starts, calls.ends, found.events])
