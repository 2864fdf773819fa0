"""A cascade inside LangChain's agents."""

import importlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, wrap_model_call
from langchain.agents.structured_output import ProviderStrategy, StructuredOutputValidationError, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from langchain_cascade.middleware import CascadeMiddleware

from .doubles import ChatScripted, policy, pool


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Person(BaseModel):
    name: str
    age: int


def sum_of(messages):
    return f"It is {messages[-1].text}."


def unused():
    return ChatScripted(model_name="unused", reply=RuntimeError("the agent's own model was asked"))


def agent_of(probability=None, *, model=None, tools=(add,), models=None, **changes):
    middleware = CascadeMiddleware(policy=policy(probability), models=models or pool(**changes))
    return create_agent(model or unused(), tools=list(tools), middleware=[middleware])


def ask(agent, text="1 + 2?", config=None):
    return agent.invoke({"messages": [HumanMessage(text)]}, config)["messages"]


def paths(messages):
    return [m.response_metadata["cascade"]["path"] for m in messages if isinstance(m, AIMessage)]


# — the agent's calls go through the cascade —


async def test_each_call_of_the_agent_is_routed_and_judged():
    agent = agent_of(0.9, small={"reply": sum_of})
    for messages in (ask(agent), (await agent.ainvoke({"messages": [HumanMessage("1 + 2?")]}))["messages"]):
        assert [type(m) for m in messages] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
        assert messages[-1].text == "It is 6."
        assert paths(messages) == [["small"], ["small"]]


async def test_a_weak_answer_goes_to_the_stronger_model():
    agent = agent_of(0.1, tools=())
    for messages in (ask(agent), (await agent.ainvoke({"messages": [HumanMessage("1 + 2?")]}))["messages"]):
        assert messages[-1].text == "large says so"
        trace = messages[-1].response_metadata["cascade"]
        assert (trace["path"], trace["scores"]) == (["small", "large"], [0.1, None])
        assert messages[-1].usage_metadata["total_tokens"] == 30


def test_a_bad_tool_call_is_not_carried_out():
    messages = ask(agent_of(small={"arguments": {"a": "one"}}))
    assert paths(messages)[0] == ["small", "large"]
    assert messages[1].tool_calls[0]["id"] == "call_large"
    assert messages[2].text == "6"


def test_a_tool_loop_stays_with_its_model():
    messages = ask(agent_of(small={"tool": "no_such_tool"}, large={"reply": sum_of}))
    assert paths(messages) == [["small", "large"], ["large"]]


def test_the_system_prompt_reaches_every_model_and_is_not_routed():
    models, routed = pool(), policy(0.1)
    middleware = CascadeMiddleware(policy=routed, models=models)
    ask(create_agent(unused(), system_prompt="Be brief.", middleware=[middleware]))
    assert [one.calls[0]["messages"][0].text for one in models.values()] == ["Be brief."] * 2
    assert set(routed.asked) == {"1 + 2?"}


def test_the_trace_survives_a_checkpoint():
    middleware = CascadeMiddleware(policy=policy(0.9), models=pool(small={"reply": sum_of}))
    agent = create_agent(unused(), tools=[add], middleware=[middleware], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    ask(agent, config=config)
    assert paths(agent.get_state(config).values["messages"]) == [["small"], ["small"]]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": "large"}, ["large"]),
        ({"escalate": False}, ["small"]),
        ({"budget": 0.5}, ["large"]),
        ({}, ["small", "large"]),
    ],
)
async def test_one_run_of_the_agent_has_its_own_settings(settings, expected):
    agent, config = agent_of(0.1, tools=()), {"configurable": {"thread_id": "1", "cascade": settings}}
    assert paths(ask(agent, config=config)) == [expected]
    found = await agent.ainvoke({"messages": [HumanMessage("1 + 2?")]}, config)
    assert paths(found["messages"]) == [expected]


@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_a_rejected_draft_is_in_no_message_stream(how):
    agent, given = agent_of(0.1, tools=()), {"messages": [HumanMessage("1 + 2?")]}
    if how == "stream":
        found = [chunk for chunk, _ in agent.stream(given, stream_mode="messages")]
    else:
        found = [chunk async for chunk, _ in agent.astream(given, stream_mode="messages")]
    assert [chunk.text for chunk in found if chunk.text] == ["large", " says", " so"]


def test_an_answer_nobody_judges_streams():
    stream = agent_of(tools=()).stream({"messages": [HumanMessage("1 + 2?")]}, stream_mode="messages")
    assert [chunk.text for chunk, _ in stream if chunk.text] == ["small", " says", " so"]


# — structured output —


class Words(BaseModel):
    name: str
    age: str


@pytest.mark.parametrize("strategy", [ToolStrategy(Words), ProviderStrategy(Words), Words])
async def test_structured_answers_by_every_strategy(strategy):
    middleware = CascadeMiddleware(policy=policy(0.9), models=pool(small="3"))
    agent = create_agent(unused(), response_format=strategy, middleware=[middleware])
    given = {"messages": [HumanMessage("The 'name' and the 'age', please.")]}
    for found in (agent.invoke(given), await agent.ainvoke(given)):
        assert found["structured_response"].name
        assert paths(found["messages"]) == [["small"]]


def test_a_text_in_place_of_a_forced_call_is_a_weak_answer():
    middleware = CascadeMiddleware(policy=policy(), models=pool(small={"calls_tools": False}))
    agent = create_agent(unused(), response_format=ToolStrategy(Person), middleware=[middleware])
    found = agent.invoke({"messages": [HumanMessage("Ada")]})
    assert found["structured_response"] == Person(name="Ada", age=3)
    (made,) = [message for message in found["messages"] if isinstance(message, AIMessage)]
    assert made.response_metadata["cascade"]["failed_checks"] == ["missing_tool_call"]


def test_a_structured_answer_that_does_not_fit_is_a_weak_one():
    middleware = CascadeMiddleware(policy=policy(), models=pool(small={"arguments": {"name": "Ada"}}))
    found = create_agent(unused(), response_format=Person, middleware=[middleware]).invoke(
        {"messages": [HumanMessage("Ada")]}
    )
    assert found["structured_response"] == Person(name="Ada", age=3)
    assert paths(found["messages"]) == [["small", "large"]]


@pytest.mark.parametrize(
    ("small", "strategy"), [({"structured_output": True}, "provider"), ({}, "tool"), (None, "tool")]
)
@pytest.mark.parametrize("ready", [True, False])
def test_the_providers_own_structured_output_needs_every_model(make, small, strategy, ready):
    native = {"structured_output": True, "tool_calling": True}
    cascade = make(small={"profile": small}, large={"profile": native})
    middleware = CascadeMiddleware(cascade=cascade)
    if not ready:
        middleware = CascadeMiddleware(policy=cascade.policy, models={"small": cascade.models["small"]})
    agent = create_agent(cascade.models["large"], response_format=Person, middleware=[middleware])
    cascade.models["small"].arguments = {"name": "Ada", "age": 3}
    if strategy == "provider":
        with pytest.raises(StructuredOutputValidationError):
            agent.invoke({"messages": [HumanMessage("Ada")]})
        assert "response_format" in cascade.models["small"].calls[0]
    else:
        assert agent.invoke({"messages": [HumanMessage("Ada")]})["structured_response"].name == "Ada"
    assert cascade.profile["structured_output"] is True


# — whose models —


def test_the_agents_own_model_is_the_member_that_was_left_out():
    models = pool()
    large = models.pop("large")
    messages = ask(agent_of(0.1, model=large, models=models, tools=()))
    assert (paths(messages), messages[-1].text) == ([["small", "large"]], "large says so")


def test_two_agents_share_a_middleware_and_keep_their_models():
    middleware = CascadeMiddleware(policy=policy(0.1), models={"small": pool()["small"]})
    names = [f"own {number}" for number in range(2)]
    agents = [
        create_agent(ChatScripted(model_name=name, reply=f"{name} says so"), middleware=[middleware]) for name in names
    ]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: ask(agents[number % 2])[-1].text, range(40)))
    assert answers == [f"own {number % 2} says so" for number in range(40)]


def test_models_chosen_anew_for_each_call_are_each_asked():
    middleware = CascadeMiddleware(policy=policy(0.1), models={"small": pool()["small"]})

    @wrap_model_call
    def another_model(request, handler):
        name = str(request.messages[-1].text)
        return handler(request.override(model=ChatScripted(model_name=name, reply=name)))

    agent = create_agent(unused(), middleware=[another_model, middleware])
    for number in range(40):
        assert ask(agent, f"question {number}")[-1].text == f"question {number}"


def test_a_ready_cascade(make):
    agent = create_agent(unused(), middleware=[CascadeMiddleware(cascade=make(0.9))])
    assert paths(ask(agent)) == [["small"]]


def test_models_by_name(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    models = {**pool(), "large": "openai:gpt-4o"}
    seen = []

    @wrap_model_call
    def look(request, handler):
        seen.append(request.model)
        return handler(request)

    middleware = CascadeMiddleware(policy=policy(), models=models)
    ask(create_agent(unused(), middleware=[middleware, look]))
    assert isinstance(seen[0].models["large"], ChatOpenAI)


def test_further_parameters_are_the_cascades():
    models = pool()
    middleware = CascadeMiddleware(policy=policy(), models=models, temperature=0.5, query=lambda messages: "q")
    ask(create_agent(unused(), middleware=[middleware]))
    assert models["small"].calls[0]["temperature"] == 0.5


# — among other middlewares —


@pytest.mark.parametrize("tools", [[], [add]])
def test_model_settings_reach_every_model_asked(tools):
    @wrap_model_call
    def cold(request, handler):
        return handler(request.override(model_settings={"temperature": 0.0}))

    models = pool(small={"tool": "no_such_tool"})
    middleware = CascadeMiddleware(policy=policy(0.1), models=models)
    ask(create_agent(unused(), tools=tools, middleware=[middleware, cold]))
    assert all(call["temperature"] == 0.0 for one in models.values() for call in one.calls)


def test_settings_of_one_provider_are_bound_to_its_model():
    models = pool()
    bound = {**models, "large": models["large"].bind(cache_control="ephemeral")}
    ask(agent_of(0.1, models=bound))
    assert all("cache_control" not in call for call in models["small"].calls)
    assert models["large"].calls[0]["cache_control"] == "ephemeral"


def test_a_fallback_after_it_takes_over_when_every_model_has_failed():
    cascade = CascadeMiddleware(policy=policy(), models=pool(small=OSError("a"), large=OSError("b")))
    fallback = ModelFallbackMiddleware(ChatScripted(model_name="other", reply="other says so"))
    assert ask(create_agent(unused(), middleware=[cascade, fallback]))[-1].text == "other says so"


# — what is refused —


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"models": {}}, "missing: small, large"),
        ({"models": {"smal": pool()["small"], "large": pool()["large"]}}, "not in the policy: smal"),
        ({"models": {"small": pool()["small"], "huge": pool()["large"]}}, "not in the policy: huge"),
        ({"models": {"small": pool()["small"]}, "temprature": 1}, "temprature"),
        ({}, "needs policy and models"),
        ({"models": pool(), "cascade": object()}, "give cascade alone"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(given, problem):
    with pytest.raises(ValueError, match=problem):
        CascadeMiddleware(policy=policy(), **given)


def test_without_langchain_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "langchain_cascade.middleware")
    monkeypatch.setitem(sys.modules, "langchain.agents.middleware", None)
    with pytest.raises(ImportError, match="pip install langchain"):
        importlib.import_module("langchain_cascade.middleware")


def test_the_package_itself_does_not_import_langchain():
    code = "import sys, langchain_cascade; sys.exit('langchain' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
