"""What a reader of the stream sees, and what nobody may see: a rejected draft."""

import asyncio

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langgraph.graph import START, MessagesState, StateGraph

from .doubles import ChatScripted, policy
from .ways import added, each_way


def texts(chunks):
    return [chunk.text for chunk in chunks if chunk.text]


def test_tokens_stream_where_nobody_can_reject_them(make):
    chunks = list(make().stream("Hello"))
    assert texts(chunks) == ["small", " says", " so"]
    assert [chunk.chunk_position for chunk in chunks][-1] == "last"
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1


def test_a_held_answer_comes_whole(make):
    chunks = list(make(0.9).stream("Hello"))
    assert texts(chunks) == ["small says so"]
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1


def test_the_escalation_streams_where_nobody_can_reject_it(make):
    chunks = list(make(0.1).stream("Hello"))
    assert texts(chunks) == ["large", " says", " so"]
    whole = chunks[0] + chunks[1:]
    assert whole.response_metadata["model_name"] == "large"
    assert whole.usage_metadata["total_tokens"] == 30


@pytest.mark.parametrize("streaming", [False, True])
async def test_token_callbacks_never_hear_a_draft(make, runs, streaming):
    model = make(0.1, small={"streaming": streaming}, callbacks=[runs])
    await each_way(model)
    assert "small" not in "".join(runs.tokens)


async def test_events_show_start_and_end_of_a_draft_and_the_tokens_of_the_answer(make):
    events = [event async for event in make(0.1).astream_events("Hello", version="v2")]
    tokens = [event["data"]["chunk"].text for event in events if event["event"] == "on_chat_model_stream"]
    assert "".join(tokens) == "large says so"
    assert [event["event"] for event in events].count("on_chat_model_start") == 2
    assert [event["event"] for event in events].count("on_chat_model_end") == 2
    assert events[-1]["event"] == "on_chain_end"
    assert events[-1]["data"]["output"].text == "large says so"


def graph_of(answer):
    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile()


def graphs(model, how):
    def invoke(state):
        return {"messages": model.invoke(state["messages"])}

    def stream(state):
        chunks = list(model.stream(state["messages"]))
        return {"messages": chunks[0] + chunks[1:]}

    async def ainvoke(state):
        return {"messages": await model.ainvoke(state["messages"])}

    async def astream(state):
        chunks = [chunk async for chunk in model.astream(state["messages"])]
        return {"messages": chunks[0] + chunks[1:]}

    return graph_of({"invoke": invoke, "stream": stream, "ainvoke": ainvoke, "astream": astream}[how])


async def messages_of(graph, how):
    given = {"messages": "Hello"}
    if how.startswith("a"):
        return [message async for message, _ in graph.astream(given, stream_mode="messages")]
    return [message for message, _ in graph.stream(given, stream_mode="messages")]


@pytest.mark.parametrize("how", ["invoke", "stream", "ainvoke", "astream"])
@pytest.mark.parametrize(
    ("probability", "expected"),
    [(None, ["small", " says", " so"]), (0.9, ["small says so"]), (0.1, ["large", " says", " so"])],
)
async def test_a_graphs_message_stream_has_the_answer_once(make, how, probability, expected):
    found = await messages_of(graphs(make(probability), how), how)
    assert texts(found) == expected


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
@pytest.mark.parametrize(("probability", "expected"), [(0.9, ["small says so"]), (0.1, ["large", " says", " so"])])
def test_a_graphs_protocol_stream_has_the_answer_once(make, probability, expected):
    stream = graphs(make(probability), "invoke").stream_events({"messages": "Hello"}, version="v3")
    assert [list(message.text) for message in stream.messages] == [expected]


def test_a_graph_hands_the_calls_settings_on(make):
    graph = graphs(make(0.9), "invoke")
    config = {"configurable": {"thread_id": "1", "cascade": {"model": "large"}}}
    message = graph.invoke({"messages": "Hello"}, config)["messages"][-1]
    assert message.response_metadata["cascade"]["path"] == ["large"]


async def test_a_stream_that_breaks_before_anything_was_seen_is_taken_over(make):
    for message in (await each_way(make(small={"breaks_after": 0}))).values():
        assert message.text.endswith("says so")
    chunks = list(make(small={"breaks_after": 0}).stream("Hello"))
    assert texts(chunks) == ["large", " says", " so"]
    assert (chunks[0] + chunks[1:]).response_metadata["cascade"]["failures"][0]["error"] == "ConnectionError"


async def test_a_stream_that_breaks_later_is_one_clear_error(make, runs):
    model = make(small={"breaks_after": 2}, callbacks=[runs])
    seen = []
    with pytest.raises(ConnectionError, match="small broke") as error:
        seen.extend(model.stream("Hello"))
    assert "after part of its answer had been streamed" in error.value.__notes__[0]
    assert model.models["large"].calls == []
    (chain,) = runs.of("chain")
    assert runs.ends[chain] is error.value
    assert texts(seen) == ["small", " says"]
    with pytest.raises(ConnectionError, match="small broke"):
        _ = [chunk async for chunk in model.astream("Hello")]


async def test_a_reader_who_leaves_ends_the_run(make, runs):
    stream = make(callbacks=[runs]).stream("Hello")
    assert next(stream).text == "small"
    stream.close()
    assert runs.ends[runs.of("chain")[0]].text == "small"

    runs.__init__()
    astream = make(callbacks=[runs]).astream("Hello")
    assert (await anext(astream)).text == "small"
    await astream.aclose()
    assert runs.ends[runs.of("chain")[0]].text == "small"


def test_a_check_that_fails_after_the_stream_is_noted(make):
    chunks = list(make(small={"finish_reason": "length"}).stream("Hello"))
    trace = (chunks[0] + chunks[1:]).response_metadata["cascade"]
    assert texts(chunks) == ["small", " says", " so"]
    assert (trace["path"], trace["failed_checks"]) == (["small"], ["truncated"])
    assert "after it had been streamed" in trace["reason"]


def test_an_empty_stream_is_a_weak_answer(make):
    chunks = list(make(small="").stream("Hello"))
    assert texts(chunks) == ["large", " says", " so"]
    assert (chunks[0] + chunks[1:]).response_metadata["cascade"]["failed_checks"] == ["empty"]


def test_a_stream_of_blanks_is_not_followed_by_another_answer(make):
    class Blank(ChatScripted):
        def _stream(self, messages, stop=None, run_manager=None, **kwargs):
            yield ChatGenerationChunk(message=AIMessageChunk(" "))

    model = make()
    model.models["small"] = Blank(model_name="small")
    chunks = list(model.stream("Hello"))
    trace = (chunks[0] + chunks[1:]).response_metadata["cascade"]
    assert (trace["path"], trace["failed_checks"]) == (["small"], ["empty"])


def test_a_model_that_streams_nothing_is_replaced(make):
    class Silent(ChatScripted):
        def stream(self, *args, **kwargs):
            yield from ()

    model = make()
    model.models["small"] = Silent(model_name="small")
    assert texts(model.stream("Hello")) == ["large", " says", " so"]


def test_an_empty_answer_of_the_last_model_stands(make):
    chunks = list(make(0.1, large="").stream("Hello"))
    assert texts(chunks) == []
    assert isinstance(chunks[-1], AIMessageChunk)
    assert chunks[-1].usage_metadata["total_tokens"] == 30


def test_streaming_can_be_disabled(make):
    assert texts(make(disable_streaming=True).stream("Hello")) == ["small says so"]


@pytest.mark.parametrize("probability", [None, 0.9, 0.1])
async def test_content_comes_as_standard_blocks_where_asked_for(make, probability):
    for message in (await each_way(make(probability, output_version="v1"))).values():
        (block,) = message.content
        assert (block["type"], block["text"].endswith("says so")) == ("text", True)
        assert message.response_metadata["output_version"] == "v1"


async def test_protocol_events_can_be_read_by_several_and_closed(make):
    stream = await make().astream_events("Hello", version="v3")

    async def words():
        return [word async for word in stream.text]

    found, message = await asyncio.gather(words(), stream.output)
    assert (found, message.text) == (["small", " says", " so"], "small says so")

    async with await make().astream_events("Hello", version="v3") as stream:
        assert await anext(aiter(stream.text)) == "small"
    with pytest.raises(asyncio.CancelledError):
        await stream.output


async def test_protocol_events_carry_the_error(make):
    model = make(small=OSError("a"), large=OSError("b"))
    stream = model.stream_events("Hello", version="v3")
    for read in (lambda: list(stream), lambda: stream.output):
        with pytest.raises(ExceptionGroup, match="Every model of the cascade failed"):
            read()
    stream = await model.astream_events("Hello", version="v3")
    for _ in range(2):
        with pytest.raises(ExceptionGroup, match="Every model of the cascade failed"):
            await stream.output


def test_other_versions_of_events_are_langchains(make):
    with pytest.raises(NotImplementedError, match="version='v2'"):
        make().stream_events("Hello")


# — early release —

LONG = "one two three four five six seven eight nine ten"


def early(make, probability=0.9, sure_after=4, **changes):
    found = policy(probability, sure_after=sure_after)
    return make(of=found, **{"release": "early", "small": {"reply": LONG}, **changes})


async def test_an_answer_is_released_once_the_estimator_is_sure_enough(make, runs):
    model = early(make, callbacks=[runs])
    chunks = list(model.stream("Hello"))
    achunks = [chunk async for chunk in model.astream("Hello")]
    for found in (chunks, achunks):
        assert "".join(texts(found)) == LONG
        trace = added(found).response_metadata["cascade"]
        assert (trace["path"], trace["released"], trace["scores"]) == (["small"], 0.95, [0.95])
        assert "small is released after 4 words" in trace["reason"]
        assert added(found).usage_metadata["total_tokens"] == 15
    assert model.policy.read == ["one two three four"] * 2


def test_nothing_is_seen_before_that_and_the_rest_as_it_comes(make):
    made = []

    class Watched(ChatScripted):
        def _stream(self, *args, **kwargs):
            for chunk in super()._stream(*args, **kwargs):
                made.append(chunk.text)
                yield chunk

    model = early(make)
    model.models["small"] = Watched(model_name="small", reply=LONG)
    stream = model.stream("Hello")
    assert (next(stream).text, len(made)) == ("one", 4)
    assert [next(stream).text for _ in range(3)] == [" two", " three", " four"]
    assert len(made) == 4
    assert (next(stream).text, len(made)) == (" five", 5)


@pytest.mark.parametrize("sure_after", [None, 100])
async def test_an_answer_never_sure_enough_is_judged_whole(make, sure_after):
    for probability, expected in ((0.9, LONG), (0.1, "large says so")):
        model = early(make, probability, sure_after)
        for found in (list(model.stream("Hello")), [chunk async for chunk in model.astream("Hello")]):
            assert "".join(texts(found)) == expected
            assert "seven" in expected or "seven" not in str(found)
            assert added(found).response_metadata["cascade"]["released"] is None


async def test_an_answer_read_whole_is_not_released_early(make):
    for message in (early(make, 0.1).invoke("Hello"), await early(make, 0.1).ainvoke("Hello")):
        assert message.text == "large says so"
    assert texts(early(make, release="judged").stream("Hello")) == [LONG]


def test_a_held_stream_that_breaks_is_taken_over_and_a_released_one_is_an_error(make):
    held = early(make, small={"reply": LONG, "breaks_after": 3})
    assert "".join(texts(held.stream("Hello"))) == "large says so"
    released = early(make, small={"reply": LONG, "breaks_after": 6})
    seen = []
    with pytest.raises(ConnectionError, match="small broke"):
        seen.extend(released.stream("Hello"))
    assert len(seen) == 6


def test_a_check_that_fails_after_the_release_is_noted(make):
    trace = added(early(make, small={"reply": LONG, "finish_reason": "length"}).stream("Hello")).response_metadata
    assert (trace["cascade"]["path"], trace["cascade"]["failed_checks"]) == (["small"], ["truncated"])


def test_a_text_that_only_checks_could_reject_passes_as_it_comes(make):
    def look_up(name: str) -> str:
        """Look a name up."""
        return name

    held = make(small={"calls_tools": False}).bind_tools([look_up])
    passing = make(small={"calls_tools": False}, release="early").bind_tools([look_up])
    assert texts(held.stream("Hello")) == ["small says so"]
    assert texts(passing.stream("Hello")) == ["small", " says", " so"]
    bad = make(small={"tool": "no_such_tool"}, release="early").bind_tools([look_up])
    message = added(bad.stream("Ada"))
    assert (message.response_metadata["cascade"]["path"], len(message.tool_calls)) == (["small", "large"], 1)


@pytest.mark.parametrize("how", ["invoke", "stream", "ainvoke", "astream"])
async def test_a_graph_shows_no_draft_of_an_early_release(make, how):
    for probability, sure_after, expected in ((0.1, None, "large says so"), (0.9, 4, LONG)):
        found = await messages_of(graphs(early(make, probability, sure_after), how), how)
        assert "".join(texts(found)) == expected


async def test_nobody_hears_the_tokens_of_a_draft_that_might_be_released(make, runs):
    events = [event async for event in early(make, 0.1, None).astream_events("Hello", {"callbacks": [runs]})]
    tokens = [event["data"]["chunk"].text for event in events if event["event"] == "on_chat_model_stream"]
    assert "".join(tokens) == "".join(runs.tokens) == "large says so"
    assert len(runs.of("model")) == 2
    assert len([event for event in events if event["event"] == "on_chat_model_start"]) == 2
    with get_usage_metadata_callback() as usage:
        list(early(make, 0.1, None, callbacks=[runs]).stream("Hello"))
    assert {name: one["total_tokens"] for name, one in usage.usage_metadata.items()} == {"small": 15, "large": 15}


async def test_streaming_true_is_heard_by_callbacks_except_for_drafts(make, runs):
    for probability, expected in ((None, ["small", " says", " so", ""]), (0.1, ["large", " says", " so", ""])):
        runs.__init__()
        await make(probability, streaming=True).ainvoke("Hello", {"callbacks": [runs]})
        assert runs.tokens == expected
    runs.__init__()
    make(streaming=False).invoke("Hello", {"callbacks": [runs]})
    assert runs.tokens == []
    assert texts(make(streaming=False).stream("Hello")) == ["small", " says", " so"]
