"""LangChain's LLM cache, in front of the cascade and behind it; and the rate limiter."""

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import Generation
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.tools import StructuredTool, tool

import cascade_components as cc

from .ways import trace_of


@pytest.fixture
def llm_cache():
    cache = InMemoryCache()
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


@tool
def look_up(name: str) -> str:
    """Look a name up."""
    return name


def described(description):
    """A tool of another name, so that only what is said of it differs."""
    return StructuredTool.from_function(lambda name: name, name="find", description=description)


def calls(model):
    return [len(model.models[name].calls) for name in ("small", "large")]


@pytest.mark.parametrize("probability", [None, 0.9, 0.1])
async def test_a_question_asked_before_asks_no_model(make, runs, probability):
    model = make(probability, cache=InMemoryCache())
    first, asked = model.invoke("Hello"), calls(model)
    again = [model.invoke("Hello"), await model.ainvoke("Hello", {"callbacks": [runs]})]
    assert calls(model) == asked
    for message in again:
        assert message.text == first.text
        assert message.usage_metadata["total_cost"] == 0
        trace = trace_of(message)
        assert (trace["cached"], trace["cost_usd"], trace["path"]) == (True, 0.0, trace_of(first)["path"])
    assert len(runs.of("chain")) == 1
    assert runs.of("model") == []
    assert "cached" not in trace_of(first)


def test_whatever_decides_about_an_answer_is_in_its_key(make):
    cache = InMemoryCache()
    found = make(0.9, cache=cache)
    found.invoke("Hello")
    others = [
        (make(0.1, cache=cache, policy_changes={"fingerprint": "another"}), {}),
        (make(0.1, cache=cache, small={"model_name": "another"}), {}),
        (make(0.1, cache=cache, temperature=0.5), {}),
        (found, {"stop": ["END"]}),
        (found, {"config": {"configurable": {"cascade": {"model": "small"}}}}),
        (found, {"config": {"configurable": {"cascade": {"escalate": False}}}}),
        (found, {"config": {"configurable": {"cascade": {"budget": 0.1}}}}),
        (found.bind_tools([look_up]), {}),
        (found.bind_tools([look_up], tool_choice="any"), {}),
        (found.bind_tools([described("Look a name up.")]), {}),
        (found.bind_tools([described("Never call this.")]), {}),
        (found.bind_tools([look_up, {"type": "web_search"}]), {}),
        (found.bind_tools([look_up, {"type": "web_search", "max_uses": 1}]), {}),
    ]
    for model, arguments in others:
        assert "cached" not in trace_of(model.invoke("Hello", **arguments))
        assert trace_of(model.invoke("Hello", **arguments))["cached"] is True
    assert "cached" not in trace_of(found.invoke("Hello!"))


def test_ids_of_messages_are_not_in_the_key(make):
    model = make(0.9, cache=InMemoryCache())
    model.invoke([HumanMessage("Hello", id="1")])
    assert trace_of(model.invoke([HumanMessage("Hello", id="2")]))["cached"] is True


def test_a_stream_and_a_structure_are_not_cached(make):
    model = make(0.9, cache=InMemoryCache())
    for _ in range(2):
        list(model.stream("Hello"))
        model.with_structured_output({"title": "T", "type": "object", "properties": {}}).invoke("Hello")
    assert calls(model) == [4, 0]


def test_an_answer_that_is_no_message_is_not_taken(make):
    class Old(InMemoryCache):
        def lookup(self, prompt, llm_string):
            return [Generation(text="old")]

    assert make(0.9, cache=Old()).invoke("Hello").text == "small says so"


def test_the_models_own_cache_serves_two_cascades_and_costs_nothing(make, llm_cache):
    one, other = make(0.9), make(0.1)
    assert [one.invoke("Hello").text, one.invoke("Hello").text] == ["small says so"] * 2
    assert calls(one) == [1, 0]
    message = other.invoke("Hello")
    assert message.text == "large says so"
    assert [passed["cost_usd"] for passed in trace_of(message)["passes"]] == [0.0, pytest.approx(0.15)]


def test_true_takes_langchains_cache(make, llm_cache):
    model = make(0.9, cache=True)
    model.invoke("Hello")
    assert trace_of(model.invoke("Hello"))["cached"] is True


def test_true_without_langchains_cache_is_an_error(make):
    with pytest.raises(ValueError, match="call set_llm_cache first"):
        make(0.9, cache=True).invoke("Hello")


def test_a_cached_answer_is_free_of_a_spending_limit(make):
    model = make(0.9, cache=InMemoryCache(), spend_limit=cc.SpendLimit(0.02, near=1.0))
    for _ in range(5):
        assert isinstance(model.invoke("Hello"), AIMessage)


class Turnstile(BaseRateLimiter):
    def __init__(self):
        self.passed = []

    def acquire(self, *, blocking=True):
        self.passed.append("sync")
        return True

    async def aacquire(self, *, blocking=True):
        self.passed.append("async")
        return True


async def test_a_rate_limiter_sees_every_wrapped_call(make):
    turnstile = Turnstile()
    model = make(0.1, rate_limiter=turnstile)
    model.invoke("Hello")
    await model.ainvoke("Hello")
    list(model.stream("Hello"))
    assert turnstile.passed == ["sync"] * 2 + ["async"] * 2 + ["sync"] * 2
