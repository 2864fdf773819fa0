"""Over HTTP: real clients of an OpenAI-compatible server on loopback, alone and in a cascade."""

import asyncio
import json

import openai
import pytest

import cascade_components as cc
from langchain_cascade import CascadeChatModel
from tests.openai_server import BOTH, Reply, clock, structured, weather

from .doubles import policy
from .ways import SYNC, added, ask, calls_of, collected, each_way, trace_of

pytestmark = pytest.mark.enable_socket


# — answers and requests —


@pytest.mark.parametrize(("probability", "text"), [(0.9, "small here"), (0.1, "large here"), (None, "small here")])
async def test_every_way(make_served, probability, text):
    passes = 2 if probability == 0.1 else 1
    for message in (await each_way(make_served(probability))).values():
        assert message.text == text
        assert message.usage_metadata["total_tokens"] == 10 * passes
        assert message.response_metadata["model_name"] == text.split()[0]
        assert len(trace_of(message)["passes"]) == passes


def test_a_draft_is_called_without_streaming(make_served, server):
    list(make_served(0.9, streaming=True).stream("Hello"))
    assert [body.get("stream") for body in server.bodies] == [False]


@pytest.mark.parametrize(
    "prepare",
    [
        lambda model: model,
        lambda model: model.bind(stop=["END"], temperature=0.3, max_tokens=5, seed=1, logit_bias={"1": 2}),
        lambda model: model.bind(model="another", response_format={"type": "json_object"}),
        lambda model: model.bind_tools([weather, clock]),
        lambda model: model.bind_tools([weather], strict=True),
        lambda model: model.bind_tools([weather, clock], parallel_tool_calls=False),
        *(
            lambda model, choice=choice: model.bind_tools([weather, clock], tool_choice=choice)
            for choice in (
                "clock",
                "any",
                "auto",
                "none",
                "required",
                True,
                {"type": "function", "function": {"name": "clock"}},
            )
        ),
        lambda model: model.bind_tools([weather]).bind(seed=1).with_config(tags=["t"]),
        lambda model: model.bind(seed=1).bind(stop=["END"]),
    ],
)
@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
async def test_the_request_is_the_one_that_a_plain_client_sends(make_served, server, prepare, way):
    server.replies.update(small=structured({"city": "Oslo"}), another=structured({"city": "Oslo"}))
    for model in (server.client("small"), make_served()):
        await ask(way, prepare(model))
    plain, cascade, *others = ({**body, "stream": None, "stream_options": None} for body in server.bodies)
    assert cascade == plain
    assert others == []


def test_the_cascades_own_arguments_are_in_the_request(server):
    models = {name: server.client(name) for name in ("small", "large")}
    model = CascadeChatModel(policy=policy(0.1), models=models, temperature=0.3, max_tokens=5, stop=["END"])
    plain = server.client("small", temperature=0.3, max_tokens=5, stop=["END"])
    for one in (plain, model):
        one.invoke("Hello")
    expected, *found = ({**body, "model": None} for body in server.bodies)
    assert found == [expected, expected]


# — tools —


@pytest.mark.parametrize("probability", [None, 0.9, 0.1])
@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream", "transform", "abatch"])
async def test_parallel_tool_calls(make_served, server, probability, way):
    server.replies["small"] = BOTH
    message = await ask(way, make_served(probability).bind_tools([weather, clock]))
    expected = [("weather", {"city": "Oslo"}, "call_0"), ("clock", {"city": "Rome"}, "call_1")]
    assert calls_of(message) == expected
    assert (trace_of(message)["path"], trace_of(message)["failed_checks"]) == (["small"], [])
    assert message.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("calls", "check"),
    [
        ([("no_such_tool", {"city": "Oslo"})], "unknown_tool"),
        ([("weather", {"town": "Oslo"})], "invalid_tool_call"),
        ([("weather", '{"city": ')], "invalid_tool_call"),
        ([("weather", {"city": "Oslo"}), ("clock", {"city": 5})], "invalid_tool_call"),
        ([("weather", {"city": "Oslo"}), ("clock", "Rome")], "invalid_tool_call"),
    ],
)
@pytest.mark.parametrize("probability", [None, 0.9])
@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
async def test_a_bad_tool_call_is_replaced(make_served, server, calls, check, probability, way):
    server.replies.update(small=Reply(calls=tuple(calls)), large=BOTH)
    message = await ask(way, make_served(probability).bind_tools([weather, clock]))
    assert [name for name, *_ in calls_of(message)] == ["weather", "clock"]
    assert message.invalid_tool_calls == []
    assert (trace_of(message)["path"], trace_of(message)["failed_checks"]) == (["small", "large"], [check])
    assert "no_such_tool" not in repr(message)


async def test_tool_calls_of_the_last_model_stream(make_served, server):
    server.replies.update(small=Reply(calls=(("no_such_tool", {}),)), large=BOTH)
    bound = make_served().bind_tools([weather, clock])
    for chunks in (list(bound.stream("Hello")), await collected(bound.astream("Hello"))):
        pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
        assert len(pieces) > 6
        arguments = ["".join(piece["args"] for piece in pieces if piece["index"] == number) for number in range(2)]
        assert [json.loads(text) for text in arguments] == [{"city": "Oslo"}, {"city": "Rome"}]
        assert [call["id"] for call in added(chunks).tool_calls] == ["call_0", "call_1"]


# — errors —

ERRORS = {
    "OpenAIRateLimitError": Reply(status=429),
    "OpenAIAPIError": Reply(status=500),
    "OpenAIInvalidRequestError": Reply(status=400),
    "OpenAITimeoutError": Reply(wait_s=20),
}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("probability", [None, 0.9])
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_an_error_is_a_failure_of_that_model_alone(make_served, server, error, probability, way):
    server.replies["small"] = ERRORS[error]
    model = make_served(probability)
    if error == "OpenAITimeoutError":
        model.models["small"] = server.client("small", timeout=0.2)
    message = await ask(way, model)
    assert message.text == "large here"
    assert trace_of(message)["failures"] == [{"model": "small", "error": error}]
    assert message.usage_metadata["total_tokens"] == 10


async def test_if_all_fail_each_error_is_there(make_served, server):
    server.replies.update(small=ERRORS["OpenAIRateLimitError"], large=ERRORS["OpenAIAPIError"])
    for way in ("invoke", "ainvoke", "stream", "astream"):
        with pytest.raises(cc.AllModelsFailed) as failure:
            await ask(way, make_served(0.9))
        first, second = failure.value.exceptions
        assert isinstance(first, openai.RateLimitError)
        assert isinstance(second, openai.InternalServerError)


async def test_sync_calls_in_a_running_loop_and_many_at_once(make_served):
    model = make_served(0.1)
    assert {way: ask_it(model, "Hello", None).text for way, ask_it in SYNC.items()} == dict.fromkeys(SYNC, "large here")
    found = await asyncio.gather(*(model.ainvoke("Hello") for _ in range(8)), asyncio.to_thread(model.invoke, "Hello"))
    assert [trace_of(message)["path"] for message in found] == [["small", "large"]] * 9
