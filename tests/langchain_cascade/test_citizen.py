"""A cascade where any chat model may stand: in LangChain's own constructions."""

import asyncio
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.load import dumpd
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnablePassthrough

from langchain_cascade import CascadeChatModel

from .doubles import ChatScripted, policy, pool
from .ways import added, trace_of


def look_up(name: str) -> str:
    """Look a name up."""
    return name


def test_with_retry(make):
    failures = [ConnectionError("down"), ConnectionError("down")]

    def reply(messages):
        if failures:
            raise failures.pop()
        return "up again"

    model = make(small={"reply": reply}, large={"reply": reply})
    assert model.with_retry(stop_after_attempt=2, wait_exponential_jitter=False).invoke("Hello").text == "up again"


def test_with_fallbacks_as_the_first_and_as_the_fallback(make):
    down = ConnectionError("down")
    broken, spare = make(small=down, large=down), ChatScripted(model_name="spare", reply="spare says so")
    guarded = broken.with_fallbacks([spare])
    assert guarded.invoke("Hello").text == "spare says so"
    assert guarded.bind_tools([look_up]).invoke("Ada").tool_calls[0]["name"] == "look_up"
    lonely = ChatScripted(model_name="lonely", reply=down)
    message = lonely.with_fallbacks([make(0.1)]).invoke("Hello")
    assert trace_of(message)["path"] == ["small", "large"]


def test_configurable_alternatives(make):
    other = ChatScripted(model_name="other", reply="other says so")
    model = make(0.1).configurable_alternatives(ConfigurableField(id="llm"), default_key="cascade", other=other)
    assert model.invoke("Hello").text == "large says so"
    assert model.invoke("Hello", {"configurable": {"llm": "other"}}).text == "other says so"
    swapped = other.configurable_alternatives(ConfigurableField(id="llm"), default_key="other", cascade=make(0.1))
    config = {"configurable": {"llm": "cascade", "cascade": {"escalate": False}}}
    assert trace_of(swapped.invoke("Hello", config))["path"] == ["small"]


async def test_assign_pick_and_pipes(make):
    model = make(0.1)
    chain = RunnablePassthrough.assign(answer=lambda given: model.invoke(given["question"]).text).pick("answer")
    assert chain.invoke({"question": "Hello"}) == "large says so"
    chain = {"a": model | StrOutputParser(), "b": RunnableLambda(len)}
    found = await (RunnablePassthrough() | chain).ainvoke("Hello")
    assert found == {"a": "large says so", "b": 5}


def test_bindings_keep_what_the_cascade_is(make):
    model = make(0.1, name="ours", tags=["mine"])
    bound = model.bind(seed=7).with_config(run_name="theirs")
    message = bound.invoke("Hello")
    assert trace_of(message)["path"] == ["small", "large"]
    assert [one.calls[0]["seed"] for one in model.models.values()] == [7, 7]
    assert model.get_name() == "ours"


@pytest.mark.parametrize("probability", [None, 0.1])
async def test_a_copy_serves_like_the_original(make, probability):
    model = make(probability, output_version="v1", tags=["mine"])
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model), model.model_copy()):
        assert trace_of(twin.invoke("Hello"))["path"] == trace_of(model.invoke("Hello"))["path"]
        assert added(twin.stream("Hello")).content == added(model.stream("Hello")).content
        assert (twin.tags, twin.output_version) == (["mine"], "v1")
    bound = pickle.loads(pickle.dumps(model.bind_tools([look_up])))
    assert (await bound.ainvoke("Ada")).tool_calls


def test_dumpd_shows_class_and_fingerprint_alone(make):
    shown = dumpd(make())
    assert shown["type"] == "not_implemented"
    assert shown["id"][-1] == "CascadeChatModel"
    assert "0123456789ab" in shown["repr"]


async def test_sync_inside_a_running_event_loop(make):
    model = make(0.1)
    assert model.invoke("Hello").text == "large says so"
    assert added(model.stream("Hello")).text == "large says so"
    assert model.batch(["Hello", "Hello"])[1].text == "large says so"


async def test_a_wrapped_model_runs_in_the_context_of_its_own_run(make, runs):
    """What a Runnable around a model finds in the context is the cascade's run, not the caller's."""
    model = make(0.1)
    for name in ("small", "large"):
        model.models[name] = RunnableLambda(lambda x: x) | model.models[name].bind(seed=1)
    chain = RunnableLambda(lambda question: model.invoke(question).text)
    achain = RunnableLambda(lambda question: question) | model
    chain.invoke("Hello", {"callbacks": [runs]})
    await achain.ainvoke("Hello", {"callbacks": [runs]})
    (first, second) = [run for run in runs.of("chain") if runs.names[run] == "CascadeChatModel"]
    for run in runs.of("model"):
        ancestors = [runs.parents[run], runs.parents[runs.parents[run]]]
        assert {first, second} & set(ancestors)


async def test_threads_and_tasks_do_not_see_each_others_state(make):
    def reply(messages):
        return f"about {messages[-1].text}"

    model = make(lambda query: 0.9 if query.endswith("0") else 0.1, small={"reply": reply}, large={"reply": reply})

    def check(message, number):
        assert message.text == f"about {number}"
        assert trace_of(message)["escalated"] is (number % 10 != 0)

    with ThreadPoolExecutor(16) as threads:
        for number, message in enumerate(threads.map(model.invoke, map(str, range(100)))):
            check(message, number)
    for number, message in enumerate(await asyncio.gather(*(model.ainvoke(str(n)) for n in range(100)))):
        check(message, number)


def test_a_pool_may_be_a_cascade_of_cascades():
    inner = CascadeChatModel(policy=policy(0.1), models=pool())
    model = CascadeChatModel(policy=policy(0.1), models={**pool(), "large": inner}, cache=False)
    assert trace_of(model.invoke("Hello"))["path"] == ["small", "large"]
