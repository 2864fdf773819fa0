"""One call on its way: the answer, how it came about, what a reader of the stream sees, and what nobody may see."""

import asyncio

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.schema import EventPayload
from llama_index.core.instrumentation.events.llm import LLMChatInProgressEvent
from llama_index.core.llms import MessageRole
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool

import cascade_components as cc
from llama_index.llms.cascade import CascadeEndEvent, CascadeLLM

from .contract import CHATS, CLOCK, COMPLETIONS, STRUCTURED, TOOL_CHATS, WEATHER, Report, ask
from .doubles import ScriptedLLM, policy, pool
from .observers import ENDS, Calls, dispatched

QUESTION = [ChatMessage("Hello")]
PROMPT = PromptTemplate("What is the weather in {city}?")
LONG = "one two three four five six seven eight nine ten"

chats = pytest.mark.parametrize("way", CHATS)
streams = pytest.mark.parametrize("way", ["stream_chat", "astream_chat"])
tool_chats = pytest.mark.parametrize("way", TOOL_CHATS)
tool_streams = pytest.mark.parametrize("way", ["stream_chat_with_tools", "astream_chat_with_tools"])


def make(probability=None, *, of=None, release="judged", callback_manager=None, sticky="loop", **replies):
    manager = {} if callback_manager is None else {"callback_manager": callback_manager}
    found = of or policy(probability)
    return CascadeLLM(policy=found, models=pool(**replies), release=release, sticky=sticky, **manager)


def trace_of(response):
    return response.additional_kwargs["cascade"]


def texts(parts):
    return [part.delta for part in parts if part.delta]


# — the answer, and how it came about —


@pytest.mark.parametrize("way", [*CHATS, *COMPLETIONS])
@pytest.mark.parametrize(
    ("probability", "path", "cost"),
    [(None, ["small"], 0.015), (0.9, ["small"], 0.015), (0.1, ["small", "large"], 0.165)],
)
async def test_the_answer_is_the_accepted_llms_and_every_pass_is_told(way, probability, path, cost):
    last = (await ask(make(probability), way, "Hello" if "complete" in way else QUESTION))[-1]
    text = last.message.content if isinstance(last, ChatResponse) else last.text
    assert (text, last.raw["model"]) == (f"{path[-1]} says so", path[-1])
    trace = trace_of(last)
    assert (trace["model"], trace["path"], trace["escalated"]) == (path[-1], path, len(path) == 2)
    assert trace["cost_usd"] == pytest.approx(cost)
    assert [one["model"] for one in trace["passes"]] == path
    assert [one["usage"] for one in trace["passes"]] == [{"input_tokens": 10, "output_tokens": 5}] * len(path)
    assert [one["cost_usd"] for one in trace["passes"]] == pytest.approx([0.015, 0.15][: len(path)])
    assert all(one["latency_ms"] >= 0 for one in trace["passes"])
    assert len(path) == 1 or "small says so" not in repr(last)


@chats
async def test_cost_is_unknown_where_an_llm_does_not_tell_its_usage(way):
    trace = trace_of((await ask(make(0.1, small={"reports_usage": False}), way, QUESTION))[-1])
    assert (trace["cost_usd"], trace["passes"][0]["usage"]) == (None, None)
    assert trace["passes"][1]["cost_usd"] == pytest.approx(0.15)


async def test_many_calls_at_once_overlap_and_do_not_mix():
    llm = make(
        lambda query: 0.9 if "easy" in query else 0.1,
        small={"reply": lambda messages: f"small: {messages[-1].content}"},
        large={"reply": lambda messages: f"large: {messages[-1].content}"},
    )
    full = asyncio.Event()

    async def until_full():
        if llm.models["small"].in_flight == 50:
            full.set()
        async with asyncio.timeout(10):
            await full.wait()

    llm.models["small"].delay = until_full
    questions = [f"{'easy' if number % 2 else 'hard'} {number}" for number in range(50)]
    found = await asyncio.gather(*(llm.achat([ChatMessage(question)]) for question in questions))
    assert llm.models["small"].peak == 50
    for number, (question, response) in enumerate(zip(questions, found, strict=True)):
        assert response.message.content == f"{'small' if number % 2 else 'large'}: {question}"
        assert trace_of(response)["escalated"] is (number % 2 == 0)


@pytest.mark.parametrize(
    ("small", "check"),
    [
        ({"reply": ""}, "empty"),
        ({"finish_reason": "length"}, "truncated"),
        ({"finish_reason": "content_filter"}, "refused"),
    ],
)
def test_a_failed_check_is_a_weak_answer_even_ungated(small, check):
    trace = trace_of(make(small=small).chat(QUESTION))
    assert (trace["path"], trace["failed_checks"]) == (["small", "large"], [check])


def test_a_cascade_may_hold_a_cascade():
    llm = make(0.1)
    llm.models["large"] = make(0.1)
    for response in (llm.chat(QUESTION), list(llm.stream_chat(QUESTION))[-1], llm.chat_with_tools([WEATHER], "Oslo?")):
        assert trace_of(response)["model"] in ("small", "large")
        assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) is not None
    assert llm.chat(QUESTION).message.content == "large says so"


# — streams —


@streams
async def test_words_come_as_they_are_where_nobody_can_reject_them(way):
    assert texts(await ask(make(), way, QUESTION)) == ["small", " says", " so"]
    assert texts(await ask(make(0.9), way, QUESTION)) == ["small says so"]
    assert texts(await ask(make(0.1), way, QUESTION)) == ["large", " says", " so"]


def test_a_word_is_passed_on_before_the_next_is_made():
    made = []

    class Watched(ScriptedLLM):
        def _parts(self, messages, kwargs):
            for part in super()._parts(messages, kwargs):
                made.append(part.delta)
                yield part

    llm = make()
    llm.models["small"] = Watched(model_name="small", reply=LONG)
    stream = llm.stream_chat(QUESTION)
    assert (next(stream).delta, made) == ("one", ["one"])
    assert (next(stream).delta, made) == (" two", ["one", " two"])
    assert "".join(texts(stream)) == " three four five six seven eight nine ten"


@pytest.mark.parametrize("way", ["stream_complete", "astream_complete"])
@pytest.mark.parametrize("probability", [None, 0.9, 0.1])
async def test_a_streamed_completion_adds_up(way, probability):
    found = await ask(make(probability), way, "Hello")
    assert "".join(texts(found)) == found[-1].text
    assert trace_of(found[-1])["done"]


@pytest.mark.parametrize("way", [*CHATS, *TOOL_CHATS])
async def test_a_rejected_draft_is_in_its_own_llms_events_and_nowhere_else(way):
    calls = Calls()
    small = {"reply": "a draft", "tool": "no_such_tool"}
    llm = make(0.1, small=small, callback_manager=CallbackManager([calls]))
    given = ([WEATHER], "Hello") if "tools" in way else (QUESTION,)
    with dispatched() as seen:
        found = await ask(llm, way, *given)
    assert trace_of(found[-1])["path"] == ["small", "large"]
    for trace in ("a draft", "no_such_tool"):
        assert trace not in repr(found)
    draft, answer = (payload[EventPayload.RESPONSE] for _, payload in calls.ends)
    assert "a draft" in repr(draft) or "no_such_tool" in repr(draft)
    assert "a draft" not in repr(answer)
    assert [event.response.raw["model"] for event in seen.of(ENDS)] == ["small", "large"]
    assert "a draft" not in repr(seen.of(LLMChatInProgressEvent))


@streams
async def test_a_stream_that_breaks_before_anything_was_seen_is_taken_over(way):
    found = await ask(make(small={"breaks_after": 0}), way, QUESTION)
    assert texts(found) == ["large", " says", " so"]
    assert trace_of(found[-1])["failures"] == [{"model": "small", "error": "ConnectionError"}]


@streams
async def test_a_stream_that_breaks_later_is_an_error(way):
    llm, seen = make(small={"breaks_after": 2}), []

    async def read():
        if way == "stream_chat":
            seen.extend(llm.stream_chat(QUESTION))
        else:
            async for part in await llm.astream_chat(QUESTION):
                seen.append(part)  # noqa: PERF401  # the parts before the error are wanted

    with pytest.raises(ConnectionError, match="small broke") as error:
        await read()
    assert "after part of its answer had been streamed" in error.value.__notes__[0]
    assert texts(seen) == ["small", " says"]
    assert llm.models["large"].calls == []


async def test_a_stream_of_nothing_is_taken_over():
    class Silent(ScriptedLLM):
        def _parts(self, messages, kwargs):
            yield from ()

    for way in ("stream_chat", "astream_chat"):
        llm = make()
        llm.models["small"] = Silent(model_name="small")
        found = await ask(llm, way, QUESTION)
        assert texts(found) == ["large", " says", " so"]
        assert trace_of(found[-1])["failures"] == [{"model": "small", "error": "ValueError"}]


def test_an_empty_stream_is_a_weak_answer_and_that_of_the_last_llm_stands():
    found = list(make(small="").stream_chat(QUESTION))
    assert (texts(found), trace_of(found[-1])["failed_checks"]) == (["large", " says", " so"], ["empty"])
    found = list(make(0.1, large="").stream_chat(QUESTION))
    assert (texts(found), trace_of(found[-1])["path"]) == ([], ["small", "large"])


def test_a_check_that_fails_after_the_stream_is_noted():
    found = list(make(small={"finish_reason": "length"}).stream_chat(QUESTION))
    trace = trace_of(found[-1])
    assert (texts(found), trace["path"]) == (["small", " says", " so"], ["small"])
    assert trace["failed_checks"] == ["truncated"]
    assert "after it had been streamed" in trace["reason"]


@pytest.mark.parametrize("way", ["stream_chat", "stream_complete", "astream_chat", "astream_complete"])
@pytest.mark.parametrize(("probability", "asked"), [(None, "small"), (0.1, "large")])
async def test_an_abandoned_stream_closes_the_wrapped_one(way, probability, asked):
    llm = make(probability, small=LONG, large=LONG)
    stream = getattr(llm, way)("Hello" if "complete" in way else QUESTION)
    if way.startswith("a"):
        stream = await stream
        await anext(stream)
        assert llm.models[asked].in_flight == 1
        await stream.aclose()
        await asyncio.sleep(0.01)  # LlamaIndex's own wrapper leaves the innermost generator to the loop
    else:
        next(stream)
        assert llm.models[asked].in_flight == 1
        stream.close()
    assert llm.models[asked].in_flight == 0


# — early release —


def early(probability=0.9, sure_after=4, **replies):
    return make(of=policy(probability, sure_after=sure_after), release="early", **{"small": LONG, **replies})


@streams
async def test_an_answer_is_released_once_the_estimator_is_sure_enough(way):
    llm = early()
    found = await ask(llm, way, QUESTION)
    trace = trace_of(found[-1])
    assert texts(found) == ["one", *(f" {word}" for word in LONG.split()[1:])]
    assert (trace["path"], trace["released"], trace["scores"]) == (["small"], 0.95, [0.95])
    assert llm.policy.read == ["one two three four"]


@streams
@pytest.mark.parametrize(("probability", "expected"), [(0.9, LONG), (0.1, "large says so")])
async def test_an_answer_never_sure_enough_is_judged_whole(way, probability, expected):
    found = await ask(early(probability, sure_after=100), way, QUESTION)
    assert "".join(texts(found)) == expected
    assert trace_of(found[-1])["released"] is None
    assert probability == 0.9 or "seven" not in repr(found)


def test_a_held_stream_that_breaks_is_taken_over_and_a_released_one_is_an_error():
    assert texts(early(small={"reply": LONG, "breaks_after": 3}).stream_chat(QUESTION)) == ["large", " says", " so"]
    with pytest.raises(ConnectionError, match="small broke"):
        list(early(small={"reply": LONG, "breaks_after": 6}).stream_chat(QUESTION))


def test_a_text_that_only_checks_could_reject_passes_as_it_comes():
    held = make(small={"calls_tools": False})
    passing = make(small={"calls_tools": False}, release="early")
    assert texts(held.stream_chat_with_tools([WEATHER], "Hello")) == ["small says so"]
    assert texts(passing.stream_chat_with_tools([WEATHER], "Hello")) == ["small", " says", " so"]


# — failures —


@chats
async def test_a_failing_llm_is_replaced(way):
    last = (await ask(make(small=TimeoutError("too slow")), way, QUESTION))[-1]
    trace = trace_of(last)
    assert (last.message.content, trace["path"]) == ("large says so", ["small", "large"])
    assert trace["failures"] == [{"model": "small", "error": "TimeoutError"}]


@pytest.mark.parametrize("way", [*CHATS, *TOOL_CHATS])
async def test_if_all_fail_one_error_carries_every_cause(way):
    llm = make(small=TimeoutError("too slow"), large=ConnectionError("no route"))
    with pytest.raises(cc.AllModelsFailed) as failure:
        await ask(llm, way, *(([WEATHER], "Hello") if "tools" in way else (QUESTION,)))
    assert [type(error) for error in failure.value.exceptions] == [TimeoutError, ConnectionError]


@chats
async def test_a_weak_answer_stands_if_the_escalation_fails(way):
    found = await ask(make(0.1, large=ConnectionError("no route")), way, QUESTION)
    assert found[-1].message.content == "small says so"
    assert texts(found) == (["small says so"] if "stream" in way else [])
    assert trace_of(found[-1])["path"] == ["small", "large"]


@streams
async def test_a_weak_answer_that_was_read_as_a_stream_stands_if_the_escalation_fails(way):
    found = await ask(early(0.1, sure_after=100, large=ConnectionError("no route")), way, QUESTION)
    assert "".join(texts(found)) == found[-1].message.content == LONG


async def test_a_cancelled_call_asks_nobody_else():
    llm, started = make(0.9), asyncio.Event()

    async def forever():
        started.set()
        await asyncio.Event().wait()

    llm.models["small"].delay = forever
    task = asyncio.create_task(llm.achat(QUESTION))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (llm.models["small"].in_flight, llm.models["large"].calls) == (0, [])


def test_an_interrupt_is_no_failure_of_a_model():
    llm = make(small=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        llm.chat(QUESTION)
    assert llm.models["large"].calls == []


# — tools —


def calls_of(llm, response):
    return [(call.tool_name, call.tool_kwargs) for call in llm.get_tool_calls_from_response(response)]


BAD_CALLS = {
    "unknown_tool": {"tool": "no_such_tool"},
    "invalid_tool_call": {"arguments": {"town": "Oslo"}},
}


@tool_chats
@pytest.mark.parametrize("check", BAD_CALLS)
@pytest.mark.parametrize("probability", [None, 0.9])
async def test_a_malformed_call_is_a_weak_answer(way, check, probability):
    llm = make(probability, small=BAD_CALLS[check])
    last = (await ask(llm, way, [WEATHER], "Oslo"))[-1]
    assert trace_of(last)["path"] == ["small", "large"]
    assert check in trace_of(last)["failed_checks"]
    assert calls_of(llm, last) == [("weather", {"city": "Oslo"})]


def noon() -> str:
    """Tell the time."""
    return "noon"


@tool_chats
@pytest.mark.parametrize(
    ("tool", "arguments"), [(WEATHER, '{"city": "Os'), (FunctionTool.from_defaults(fn=noon), "{oops")]
)
async def test_arguments_that_are_no_json_are_a_weak_answer_though_llms_repair_them(way, tool, arguments):
    last = (await ask(make(small={"arguments": arguments}), way, [tool], "Oslo"))[-1]
    assert trace_of(last)["path"] == ["small", "large"]
    assert trace_of(last)["failed_checks"] == ["invalid_tool_call"]


@tool_chats
async def test_calls_that_their_llm_cannot_read_are_a_weak_answer(way):
    class Strict(ScriptedLLM):
        def get_tool_calls_from_response(self, response, error_on_no_tool_call=True, **kwargs):
            raise ValueError("Invalid tool call.")

    llm = make()
    llm.models["small"] = Strict(model_name="small")
    last = (await ask(llm, way, [WEATHER], "Oslo"))[-1]
    assert trace_of(last)["path"] == ["small", "large"]


@tool_chats
@pytest.mark.parametrize("forced", [{"tool_required": True}, {"tool_choice": "weather"}])
async def test_a_forced_call_that_is_not_made_is_a_weak_answer(way, forced):
    llm = make(small={"calls_tools": False})
    last = (await ask(llm, way, [WEATHER], "Oslo", **forced))[-1]
    assert (trace_of(last)["path"], trace_of(last)["failed_checks"]) == (["small", "large"], ["missing_tool_call"])
    assert calls_of(llm, last) == [("weather", {"city": "Oslo"})]
    assert trace_of((await ask(llm, way, [WEATHER], "Oslo", tool_choice="auto"))[-1])["path"] == ["small"]


@tool_chats
async def test_each_llm_formats_the_raw_tools_and_reads_its_own_calls(way):
    class Numbered(ScriptedLLM):
        """Has formats of its own."""

        def _prepare_chat_with_tools(self, tools, **kwargs):
            given = super()._prepare_chat_with_tools(tools, **kwargs)
            given.pop("tool_required", None)
            return {**given, "own": [type(tool).__name__ for tool in tools]}

        def get_tool_calls_from_response(self, response, *args, **kwargs):
            found = super().get_tool_calls_from_response(response, *args, **kwargs)
            return [call.model_copy(update={"tool_id": "own"}) for call in found]

    llm = make(0.1, small={"tool": "no_such_tool"})
    llm.models["large"] = Numbered(model_name="large")
    for response in await ask(llm, way, [WEATHER, CLOCK], "Oslo", seed=3):
        for call in llm.get_tool_calls_from_response(response, error_on_no_tool_call=False):
            assert (call.tool_id, call.tool_name) == ("own", "weather")
    assert (llm.models["small"].calls[0]["seed"], "own" in llm.models["small"].calls[0]) == (3, False)
    assert llm.models["large"].calls[0]["own"] == ["FunctionTool"] * 2


@tool_streams
async def test_a_part_of_a_stream_says_whose_calls_it_holds(way):
    llm = make(0.1, small={"tool": "no_such_tool"})
    for part in await ask(llm, way, [WEATHER], "Oslo"):
        assert trace_of(part)["model"] == "large"
        assert all(call.tool_id == "call_large_0" for call in llm.get_tool_calls_from_response(part, False))


# — structures —


@pytest.mark.parametrize("way", STRUCTURED)
@pytest.mark.parametrize(
    "small", [{}, {"arguments": {"city": "Oslo"}}, {"arguments": '{"city"'}, {"calls_tools": False}]
)
async def test_an_object_that_the_small_llms_arguments_do_not_make_comes_from_the_large_one(way, small):
    llm = make(small={"reply": "no object", **small})
    found = await ask(llm, way, Report, PROMPT, city="Oslo")
    assert found[-1] == Report(city="What is the weather in Oslo?", degrees=3)
    assert len(llm.models["large"].calls) == (1 if small else 0)


@pytest.mark.parametrize("way", ["chat", "achat", "complete", "acomplete"])
async def test_a_structured_llm_escalates(way):
    llm = make(small={"arguments": {"city": "Oslo"}})
    structured = llm.as_structured_llm(Report)
    (found,) = await ask(structured, way, "Oslo?" if "complete" in way else [ChatMessage("Oslo?")])
    assert found.raw.degrees == 3
    assert len(llm.models["large"].calls) == 1


# — observers —


@pytest.mark.parametrize("way", ["achat", "chat", "stream_chat", "astream_chat", "acomplete", "stream_complete"])
async def test_the_spans_of_the_llms_are_siblings_under_the_cascades(way):
    llm = make(0.1)
    with dispatched() as found:
        await ask(llm, way, "Hello" if "complete" in way else QUESTION)
    (root,) = found.roots
    assert root.id_.startswith(f"CascadeLLM.{way}")
    inner = [span for span in found.finished_spans if span.id_.startswith("ScriptedLLM")]
    (parent,) = {span.parent_id for span in inner}
    assert (len(inner), parent.startswith("CascadeLLM.")) == (2, True)
    assert found.spans.open_spans == {}


@pytest.mark.parametrize("way", [*CHATS, *COMPLETIONS, *TOOL_CHATS])
async def test_one_event_tells_the_trace(way):
    given = ([WEATHER], "Hello") if "tools" in way else ("Hello" if "complete" in way else QUESTION,)
    with dispatched() as found:
        last = (await ask(make(0.1), way, *given))[-1]
    (event,) = found.of(CascadeEndEvent)
    assert event.trace == trace_of(last)
    assert event.span_id in {span.id_ for span in found.finished_spans if span.id_.startswith("CascadeLLM.")}


def test_a_call_that_fails_tells_no_trace():
    with dispatched() as found, pytest.raises(cc.AllModelsFailed):
        make(small=OSError("a"), large=OSError("b")).chat(QUESTION)
    assert found.of(CascadeEndEvent) == []


def test_the_role_and_extras_of_the_answer_are_the_llms_own():
    reply = ChatMessage("fine", role=MessageRole.ASSISTANT, additional_kwargs={"mood": "good"})
    response = make(small=reply).chat(QUESTION)
    assert (response.message.role, response.message.additional_kwargs) == (MessageRole.ASSISTANT, {"mood": "good"})
    assert "cascade" not in response.message.model_dump()["additional_kwargs"]
