"""Models that hang, limit their rate, fail, or die in the middle: real HTTP where that matters."""

import asyncio
import json
import re
import threading
from collections import Counter
from pathlib import Path

import pytest
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_openai import ChatOpenAI

import cascade_components as cc
from cascade_components.serving.health import Health
from langchain_cascade import CascadeChatModel
from langchain_cascade.wrapped import retries
from tests.openai_server import Reply

from .doubles import ChatScripted, policy, pool
from .ways import added, ask, collected, trace_of


class Ends(BaseCallbackHandler):
    """How often each model's run began and ended, by its name; with an error or without."""

    def __init__(self):
        self.names, self.began, self.ended, self.errors, self.tokens = {}, Counter(), Counter(), Counter(), []

    def on_chat_model_start(self, serialized, messages, *, run_id, metadata, **kwargs):
        self.names[run_id] = metadata["cascade_model"]
        self.began[metadata["cascade_model"]] += 1

    def on_llm_end(self, response, *, run_id, **kwargs):
        self.ended[self.names[run_id]] += 1

    def on_llm_error(self, error, *, run_id, **kwargs):
        self.errors[self.names[run_id], type(error).__name__] += 1

    def on_llm_new_token(self, token, **kwargs):
        self.tokens.append(token)


class ChatSlow(ChatScripted):
    """Answers once it is let go."""

    let_go: threading.Event
    started: int = 0
    cancelled: int = 0

    def _generate(self, *args, **kwargs):
        self.started += 1
        self.let_go.wait(20)
        return super()._generate(*args, **kwargs)

    async def _agenerate(self, *args, **kwargs):
        self.started += 1
        try:
            for _ in range(2000):
                await asyncio.sleep(0.01)
                if self.let_go.is_set():
                    break
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return super()._generate(*args, **kwargs)

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        self.started += 1
        try:
            for chunk in super()._stream(messages, stop, None, **kwargs):
                yield chunk
                await asyncio.sleep(20)
        finally:
            self.cancelled += 1


@pytest.fixture
def slow():
    """A slow model; whatever still runs of it ends with the test."""
    model = ChatSlow(model_name="small", reply="small says so", let_go=threading.Event())
    yield model
    model.let_go.set()
    for thread in [one for one in threading.enumerate() if one.name.startswith("cascade-lane-")]:
        thread.join(5)
        assert not thread.is_alive()


def make(small, *, probability=None, **resilience):
    models = {**pool(), "small": small}
    return CascadeChatModel(policy=policy(probability), models=models, resilience=cc.Resilience(**resilience))


# — over HTTP —


@pytest.mark.enable_socket
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("probability", [None, 0.9])
async def test_a_server_that_hangs_is_left_for_the_next_model(make_served, server, way, probability):
    server.replies["small"] = Reply("late", wait_s=0.8)
    model = make_served(probability)
    model.resilience = cc.Resilience(timeout={"small": 0.2})
    message = await ask(way, model)
    assert (message.text, trace_of(message)["path"]) == ("large here", ["small", "large"])
    assert trace_of(message)["failures"] == [{"model": "small", "error": "TimeoutError"}]
    for thread in [one for one in threading.enumerate() if one.name.startswith("cascade-lane-")]:
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()


@pytest.mark.enable_socket
async def test_a_rate_limit_keeps_calls_away_until_its_retry_after(make_served, server):
    model, now = make_served(), [0.0]
    model._health = Health(lambda: now[0])
    server.replies["small"] = Reply(status=429, headers=(("Retry-After", "12"),))
    assert trace_of(model.invoke("Hello"))["path"] == ["small", "large"]
    for way in ("invoke", "ainvoke", "stream", "astream"):
        trace = trace_of(await ask(way, model))
        assert trace["path"] == ["large"]
        assert "small: rate limited for 12 s more" in trace["reason"]
    bound = model.with_structured_output({"title": "x", "type": "object", "properties": {}}, include_raw=True)
    assert trace_of(bound.invoke("Hello")["raw"])["path"] == ["large"]
    assert [body["model"] for body in server.bodies].count("small") == 1
    now[0] = 12.0
    server.replies.clear()
    assert trace_of(model.invoke("Hello"))["path"] == ["small"]


@pytest.mark.enable_socket
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_stream_that_dies_midway(make_served, server, way):
    server.replies["small"] = Reply("one two three four", breaks_after=4)
    model = make_served()
    with pytest.raises(Exception, match="peer closed connection") as error:
        await ask(way, model)
    assert "nobody else was asked" in error.value.__notes__[0]
    server.replies["small"] = Reply("one two three four", breaks_after=1)  # nothing to see yet
    assert (await ask(way, model)).text == "large here"

    server.replies["small"] = Reply("one two three four", breaks_after=4)
    model.resilience = cc.Resilience(broken_stream="restart")
    chunks = list(model.stream("Hello")) if way == "stream" else await collected(model.astream("Hello"))
    (position,) = [number for number, chunk in enumerate(chunks) if "cascade_restart" in chunk.response_metadata]
    mark = {"failed": "small", "model": "large"}
    assert chunks[position].response_metadata == {"cascade_restart": [mark]}
    assert chunks[position].content == ""
    assert added(chunks[:position]).text == "one two three"
    again = added(chunks[position + 1 :])
    assert again.text == "large here"
    assert (trace_of(again)["path"], trace_of(again)["restarts"]) == (["small", "large"], [mark])
    assert again.chunk_position == "last"


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_weak_answer_stands_whole_if_the_stream_of_a_better_one_dies(way):
    small, large = pool(large={"breaks_after": 2}).values()
    model = CascadeChatModel(
        policy=policy(0.1),
        models={"small": small, "large": large},
        resilience=cc.Resilience(broken_stream="restart"),
    )
    chunks = list(model.stream("Hello")) if way == "stream" else await collected(model.astream("Hello"))
    texts = [chunk.text for chunk in chunks]
    assert texts == ["large", " says", "", "small says so"]
    assert chunks[2].response_metadata == {"cascade_restart": [{"failed": "large", "model": "small"}]}
    assert trace_of(chunks[-1])["model"] == "small"


# — hedging —


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_each_run_of_a_hedged_call_begins_and_ends_once(slow, way):
    ends, model = Ends(), make(slow, hedge=0.05)
    message = await ask(way, model, config={"callbacks": [ends]})
    trace = trace_of(message)
    assert (message.text, trace["path"]) == ("large says so", ["small", "large"])
    assert "large is asked as well: small took longer than 0.05 s" in trace["reason"]
    assert [(one["model"], one.get("cancelled", False)) for one in trace["passes"]] == [
        ("large", False),
        ("small", True),
    ]
    assert trace["cost_usd"] == pytest.approx(0.15 + 0.015)
    assert message.usage_metadata["total_tokens"] == 15
    slow.let_go.set()
    for thread in [one for one in threading.enumerate() if one.name.startswith("cascade-lane-")]:
        thread.join(5)
    assert ends.began == {"small": 1, "large": 1}
    if way == "ainvoke":
        assert (ends.ended, ends.errors, slow.cancelled) == ({"large": 1}, {("small", "CancelledError"): 1}, 1)
    else:
        assert (ends.ended, ends.errors) == ({"small": 1, "large": 1}, {})
    assert ends.tokens == []


async def test_a_hedged_draft_is_in_no_stream(slow):
    slow.streaming = True
    model = make(slow, probability=0.9, hedge=0.05)
    events = await collected(model.astream_events("Hello", version="v2"))
    assert [event for event in events if event["event"] == "on_chat_model_stream"] == []
    assert events[-1]["data"]["output"].text == "large says so"
    assert "small says" not in str([event for event in events if event["event"] == "on_chain_stream"])


async def test_what_somebody_hears_as_it_comes_is_not_hedged():
    model = make(pool()["small"], hedge=1e-6)
    events = await collected(model.astream_events("Hello", version="v2"))
    assert {event["metadata"].get("cascade_model") for event in events} == {None, "small"}


async def test_usage_counts_each_call_once(slow):
    with get_usage_metadata_callback() as callback:
        await make(slow, hedge=0.05).ainvoke("Hello")
    assert callback.usage_metadata["large"]["total_tokens"] == 15
    assert list(callback.usage_metadata) == ["large"]


# — cancellation —


@pytest.mark.parametrize("resilience", [{}, {"timeout": 10}, {"hedge": 0.05}])
async def test_who_cancels_a_call_cancels_its_models(slow, resilience):
    ends, model = Ends(), make(slow, **resilience)
    model.models["large"] = slow
    for ask_it in (
        lambda: model.ainvoke("Hello", {"callbacks": [ends]}),
        lambda: collected(model.astream("Hello", {"callbacks": [ends]})),
    ):
        slow.started = slow.cancelled = 0
        task = asyncio.create_task(ask_it())
        await asyncio.sleep(0.15)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert slow.started == slow.cancelled > 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert sum(ends.began.values()) == sum(ends.errors.values())
    assert sum(ends.ended.values()) == 0


@pytest.mark.parametrize("limit_s", [None, 10])
async def test_who_closes_a_stream_closes_the_models(slow, limit_s):
    model = make(slow, timeout=limit_s)
    chunks = model.astream("Hello")
    assert (await anext(chunks)).text == "small"
    await chunks.aclose()
    assert slow.cancelled == 1
    chunks = make(pool()["small"], timeout=limit_s).stream("Hello")
    assert next(chunks).text == "small"
    chunks.close()
    assert [one.name for one in threading.enumerate() if one.name == "cascade-lane-small" and one.is_alive()] == []


# — settings —


def client(**fields):
    return ChatOpenAI(model="a", api_key="none", **fields)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (FakeListChatModel(responses=["x"]), False),
        (FakeListChatModel(responses=["x"]).with_retry(stop_after_attempt=2), True),
        (FakeListChatModel(responses=["x"]).with_retry(stop_after_attempt=1), False),
        (client(), True),  # its client's default is 2
        (client(max_retries=0), False),
        (client(max_retries=3).bind(stop=["x"]), True),
        (client(max_retries=0).bind(stop=["x"]).with_retry(), True),
    ],
)
def test_models_that_retry_themselves_are_known(model, found):
    assert retries(model) is found


async def test_their_retries_are_not_doubled():
    large = ChatScripted(model_name="large", reply=ConnectionError("no"))
    for wrapped, calls in ((large.with_retry(stop_after_attempt=2, wait_exponential_jitter=False), 2), (large, 3)):
        large.calls.clear()
        model = CascadeChatModel(
            policy=policy(),
            models={**pool(small=ConnectionError("no")), "large": wrapped},
            resilience=cc.Resilience(retries=2, retry_wait=0.001),
        )
        with pytest.raises(cc.AllModelsFailed):
            await model.ainvoke("Hello")
        assert len(large.calls) == calls


def test_settings_are_checked_and_written_down():
    with pytest.raises(ValueError, match="timeout names huge; the policy knows small, large"):
        make(pool()["small"], timeout={"huge": 1})
    model = make(pool()["small"], timeout={"small": 3.0}, hedge=2.0, broken_stream="restart")
    spec = json.loads(json.dumps(model.to_spec("policy/")))
    assert cc.Resilience(**spec["resilience"]) == model.resilience
    assert (
        CascadeChatModel(policy=policy(), models=pool(), resilience=spec["resilience"]).resilience == model.resilience
    )


def test_copies_share_what_is_learnt_and_two_cascades_do_not():
    model = make(pool()["small"])
    assert model.model_copy(update={"temperature": 0.5}).health is model.health
    assert model.bind(stop=["x"]).bound.health is model.health
    assert make(pool()["small"]).health is not model.health


async def test_estimators_are_asked_as_the_settings_say():
    class Broken(type(policy())):
        def estimator(self, model):
            raise RuntimeError

    for fallback, text in (("accept", "small says so"), ("escalate", "large says so")):
        model = make(pool()["small"], probability=0.9, on_estimator_failure=fallback)
        model.policy = Broken(plan=model.policy.plan, probability=0.9)
        assert (await model.ainvoke("Hello")).text == text


def test_the_document_tells_the_truth(capsys):
    text = (Path(__file__).parents[2] / "docs" / "resilience.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(snippet, "resilience.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^    (Oslo .*)$", text, re.MULTILINE)
    for setting in cc.Resilience().to_dict():
        assert f"`{setting}`" in text
