"""LLMs that hang, limit their rate, fail, or die in the middle."""

import asyncio
import json
import threading

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.llms.openai import OpenAI

import cascade_components as cc
from cascade_components.serving.health import Health
from llama_index.llms.cascade import CascadeLLM
from tests.openai_server import Reply

from .doubles import ScriptedLLM, policy, pool

QUESTION = [ChatMessage("What is 2 + 2?")]
CHATS = ("chat", "achat", "stream_chat", "astream_chat")


async def ask(llm, way):
    """The responses of one way."""
    found = getattr(llm, way)(QUESTION)
    if way.startswith("a"):
        found = await found
    if "stream" not in way:
        return [found]
    return [one async for one in found] if way.startswith("a") else list(found)


def trace_of(response):
    return response.additional_kwargs["cascade"]


def make(small, *, probability=None, **resilience):
    return CascadeLLM(
        policy=policy(probability), models={**pool(), "small": small}, resilience=cc.Resilience(**resilience)
    )


@pytest.fixture
def slow():
    """A slow LLM; whatever still runs of it ends with the test."""
    let_go, cancelled = threading.Event(), []

    async def delay():
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    def reply(messages):
        if threading.current_thread() is not threading.main_thread():
            let_go.wait(20)
        return "small says so"

    llm = ScriptedLLM(model_name="small", reply=reply, delay=delay)
    yield llm, cancelled
    let_go.set()
    for thread in [one for one in threading.enumerate() if one.name.startswith("cascade-lane-")]:
        thread.join(5)
        assert not thread.is_alive()


def over_http(server, **resilience):
    models = {
        name: OpenAI(model=name, api_key="none", api_base=server.url, max_retries=0, timeout=10, context_window=4096)
        for name in ("gpt-4o-mini", "gpt-4o")
    }
    models = dict(zip(("small", "large"), models.values(), strict=True))
    return CascadeLLM(policy=policy(), models=models, resilience=cc.Resilience(**resilience))


@pytest.mark.enable_socket
@pytest.mark.parametrize("way", CHATS)
async def test_a_server_that_hangs_is_left_for_the_next(server, way):
    server.replies["gpt-4o-mini"] = Reply("late", wait_s=0.8)
    last = (await ask(over_http(server, timeout={"small": 0.2}), way))[-1]
    assert (last.message.content, trace_of(last)["path"]) == ("gpt-4o here", ["small", "large"])
    assert trace_of(last)["failures"] == [{"model": "small", "error": "TimeoutError"}]
    for thread in [one for one in threading.enumerate() if one.name.startswith("cascade-lane-")]:
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()


@pytest.mark.enable_socket
async def test_a_rate_limit_keeps_calls_away_until_its_retry_after(server):
    llm, now = over_http(server), [0.0]
    llm._health = Health(lambda: now[0])
    server.replies["gpt-4o-mini"] = Reply(status=429, headers=(("Retry-After", "12"),))
    assert trace_of(llm.chat(QUESTION))["path"] == ["small", "large"]
    for way in CHATS:
        trace = trace_of((await ask(llm, way))[-1])
        assert trace["path"] == ["large"]
        assert "small: rate limited for 12 s more" in trace["reason"]
    assert [body["model"] for body in server.bodies].count("gpt-4o-mini") == 1
    now[0], _ = 12.0, server.replies.clear()
    assert trace_of(llm.chat(QUESTION))["path"] == ["small"]


@pytest.mark.enable_socket
@pytest.mark.parametrize("way", ["stream_chat", "astream_chat"])
async def test_a_stream_that_dies_midway(server, way):
    server.replies["gpt-4o-mini"] = Reply("one two three four", breaks_after=4)
    with pytest.raises(Exception, match="peer closed connection") as error:
        await ask(over_http(server), way)
    assert "nobody else was asked" in error.value.__notes__[0]
    parts = await ask(over_http(server, broken_stream="restart"), way)
    (position,) = [number for number, part in enumerate(parts) if "cascade_restart" in part.additional_kwargs]
    mark = {"failed": "small", "model": "large"}
    assert parts[position].additional_kwargs == {"cascade_restart": [mark]}
    assert (parts[position].delta, parts[position].message.content) == ("", None)
    assert "".join(part.delta or "" for part in parts[:position]) == "one two three"
    assert "".join(part.delta or "" for part in parts[position + 1 :]) == "gpt-4o here"
    assert trace_of(parts[-1])["restarts"] == [mark]


@pytest.mark.parametrize("way", ["stream_chat", "astream_chat"])
async def test_a_weak_answer_stands_whole_if_the_stream_of_a_better_one_dies(way):
    settings = cc.Resilience(broken_stream="restart")
    llm = CascadeLLM(policy=policy(0.1), models=pool(large={"breaks_after": 2}), resilience=settings)
    parts = await ask(llm, way)
    assert [part.delta for part in parts] == ["large", " says", "", "small says so"]
    assert trace_of(parts[-1])["restarts"] == [{"failed": "large", "model": "small"}]


@pytest.mark.parametrize("way", ["chat", "achat"])
async def test_a_slow_llm_is_hedged_and_events_show_each_call_once(slow, way):
    llm, cancelled = slow
    counter = TokenCountingHandler(tokenizer=str.split)
    cascade = make(llm, hedge=0.05)
    cascade.callback_manager = CallbackManager([counter])
    (response,) = await ask(cascade, way)
    trace = trace_of(response)
    assert (response.message.content, trace["path"]) == ("large says so", ["small", "large"])
    assert [(one["model"], one.get("cancelled")) for one in trace["passes"]] == [("large", None), ("small", True)]
    assert trace["cost_usd"] == pytest.approx(0.15 + 0.015)
    assert cancelled == ([True] if way == "achat" else [])
    counts = [count.completion_token_count for count in counter.llm_token_counts]
    assert counts == ([5] if way == "chat" else [5, 0])  # LlamaIndex tells a cancelled call as one without tokens


async def test_a_held_stream_is_hedged_too(slow):
    llm, _ = slow
    parts = await ask(make(llm, probability=0.9, hedge=0.05), "astream_chat")
    assert "".join(part.delta or "" for part in parts) == "large says so"


@pytest.mark.parametrize("resilience", [{}, {"timeout": 10}, {"hedge": 0.05}])
async def test_who_cancels_a_call_cancels_its_llms(slow, resilience):
    llm, cancelled = slow
    cascade = make(llm, **resilience)
    cascade.models["large"] = llm
    for way in ("achat", "astream_chat"):
        cancelled.clear()
        task = asyncio.create_task(ask(cascade, way))
        await asyncio.sleep(0.15)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(cancelled) == (2 if "hedge" in resilience and way == "achat" else 1)
        assert llm.in_flight == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("limit_s", [None, 10])
async def test_who_closes_a_stream_closes_the_llms(limit_s):
    cascade = make(pool()["small"], timeout=limit_s)
    parts = cascade.stream_chat(QUESTION)
    assert next(parts).delta == "small"
    parts.close()
    assert cascade.models["small"].in_flight == 0
    parts = await cascade.astream_chat(QUESTION)
    assert (await anext(parts)).delta == "small"
    await parts.aclose()
    await asyncio.sleep(0.01)  # LlamaIndex's own layer leaves the closing of what is below to Python
    assert cascade.models["small"].in_flight == 0


class Retrying(ScriptedLLM):
    max_retries: int = 0


@pytest.mark.parametrize(("own", "calls"), [(0, 3), (3, 1)])
def test_an_llm_that_retries_itself_is_not_retried(own, calls):
    large = Retrying(model_name="large", reply=ConnectionError("no"), max_retries=own)
    models = {**pool(small=ConnectionError("no")), "large": large}
    llm = CascadeLLM(policy=policy(), models=models, resilience=cc.Resilience(retries=2, retry_wait=0.001))
    with pytest.raises(cc.AllModelsFailed):
        llm.chat(QUESTION)
    assert len(large.calls) == calls


def test_settings_are_checked_and_written_down():
    with pytest.raises(ValueError, match="hedge names huge; the policy knows small, large"):
        make(pool()["small"], hedge={"huge": 1})
    llm = make(pool()["small"], timeout={"small": 3.0}, hedge=2.0, broken_stream="restart")
    data = json.loads(llm.to_json())
    again = CascadeLLM.from_dict(data, models=pool(), policy=policy())
    assert again.resilience == llm.resilience
