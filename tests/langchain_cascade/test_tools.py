"""Tools and structured output through the cascade."""

from typing import TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableBinding
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_cascade import CascadeChatModel

from .doubles import ChatScripted, policy, pool


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class ChatOther(ChatScripted):
    """A provider with a format of its own."""

    def bind_tools(self, tools, *, tool_choice=None, **kwargs):
        assert all(not isinstance(one, dict) for one in tools)
        bound = super().bind_tools(tools, tool_choice=tool_choice, **kwargs)
        return bound.bind(format="other")


def trace_of(message):
    return message.response_metadata["cascade"]


def test_each_model_formats_the_raw_tools_itself(make):
    model = make(0.1, small={"calls_tools": False})
    model.models["large"] = ChatOther(model_name="large")
    bound = model.bind_tools([add], tool_choice="add")
    assert isinstance(bound, RunnableBinding)
    message = bound.invoke("1 + 2?")
    assert message.tool_calls[0]["name"] == "add"
    assert trace_of(message)["path"] == ["small", "large"]
    small, large = (model.models[name].calls[0] for name in ("small", "large"))
    assert small["tools"] == large["tools"]
    assert (small["tool_choice"], small.get("format"), large["format"]) == ("add", None, "other")


def test_a_good_tool_call_needs_no_estimator(make):
    message = make(0.1).bind_tools([add]).invoke("1 + 2?")
    assert trace_of(message)["path"] == ["small"]
    assert trace_of(message)["scores"] == [None]


@pytest.mark.parametrize("probability", [None, 0.9])
@pytest.mark.parametrize(
    ("small", "check"),
    [
        ({"tool": "no_such_tool"}, "unknown_tool"),
        ({"arguments": {"a": 1}}, "invalid_tool_call"),
        ({"arguments": {"a": 1, "b": "two"}}, "invalid_tool_call"),
    ],
)
def test_a_bad_tool_call_is_a_weak_answer(make, probability, small, check):
    bound = make(probability, small=small).bind_tools([add])
    chunks = list(bound.stream("1 + 2?"))
    for message in (bound.invoke("1 + 2?"), chunks[0] + chunks[1:]):
        assert trace_of(message)["path"] == ["small", "large"]
        assert trace_of(message)["failed_checks"] == [check]
        assert message.tool_calls == [
            {"name": "add", "args": {"a": 3, "b": 3}, "id": "call_large", "type": "tool_call"}
        ]


def test_arguments_that_do_not_parse_are_a_weak_answer(make):
    invalid = {"name": "add", "args": "{a: 1", "id": "1", "error": None, "type": "invalid_tool_call"}
    reply = AIMessage("", invalid_tool_calls=[invalid])
    message = make(small={"reply": reply, "calls_tools": False}).bind_tools([add]).invoke("1 + 2?")
    assert trace_of(message)["failed_checks"] == ["invalid_tool_call"]
    assert trace_of(message)["model"] == "large"


def test_a_held_tool_call_survives_every_kind_of_stream(make):
    bound = make(0.9).bind_tools([add])
    chunks = list(bound.stream("1 + 2?"))
    expected = [{"name": "add", "args": {"a": 3, "b": 3}, "id": "call_small", "type": "tool_call"}]
    assert (chunks[0] + chunks[1:]).tool_calls == expected
    assert bound.stream_events("1 + 2?", version="v3").output.tool_calls == expected


def test_a_providers_own_tool_has_no_schema_to_check(make):
    model = make(small={"tool": "web_search"}).bind_tools([add, {"type": "web_search", "name": "web_search"}])
    assert trace_of(model.invoke("Who won?"))["path"] == ["small"]


def test_a_model_that_takes_no_tools_is_skipped(make):
    model = make()
    object.__setattr__(model.models["small"], "bind_tools", None)
    message = model.bind_tools([add]).invoke("1 + 2?")
    assert trace_of(message)["model"] == "large"
    assert trace_of(message)["failures"][0]["model"] == "small"


async def test_an_agent_runs_on_the_cascade(make):
    def reply(messages):
        return f"It is {messages[-1].text}."

    agent = create_agent(make(0.9, small={"reply": reply}), tools=[add])
    result = await agent.ainvoke({"messages": [HumanMessage("3 + 3?")]})
    assert result["messages"][-1].text == "It is 6."
    assert trace_of(result["messages"][1])["path"] == ["small"]


class Person(BaseModel):
    name: str
    age: int


class PersonDict(TypedDict):
    name: str
    age: int


@pytest.mark.parametrize("schema", [Person, PersonDict, Person.model_json_schema()])
async def test_structured_output(make, schema):
    parsed = make(0.1).with_structured_output(schema)
    for found in (parsed.invoke("Ada"), await parsed.ainvoke("Ada"), *parsed.stream("Ada")):
        assert (dict(found)["name"], dict(found)["age"]) == ("Ada", 3)


def test_an_answer_that_does_not_parse_is_a_weak_one(make):
    model = make(small={"arguments": {"name": "Ada"}})
    found = model.with_structured_output(Person, include_raw=True).invoke("Ada")
    assert found["parsed"] == Person(name="Ada", age=3)
    assert found["parsing_error"] is None
    trace = trace_of(found["raw"])
    assert (trace["path"], trace["failed_checks"]) == (["small", "large"], ["unparsable"])
    assert found["raw"].usage_metadata["total_tokens"] == 30


@pytest.mark.parametrize("weak", [{"arguments": {"name": "Ada"}}, {"calls_tools": False}])
async def test_an_answer_that_never_parses(make, weak):
    model = make(small=weak, large=weak)
    found = await model.with_structured_output(Person, include_raw=True).ainvoke("Ada")
    assert found["parsed"] is None
    assert trace_of(found["raw"])["path"] == ["small", "large"]
    if "arguments" not in weak:
        assert model.with_structured_output(Person).invoke("Ada") is None
        return
    with pytest.raises(ValueError, match="age"):
        model.with_structured_output(Person).invoke("Ada")


def test_structured_output_by_each_models_own_method_and_arguments(make):
    class Own(ChatScripted):
        def with_structured_output(self, schema, *, include_raw=False, method=None, strict=None, **kwargs):
            self.calls.append((method, strict))
            return super().with_structured_output(schema, include_raw=include_raw)

    model = make(temperature=0.5)
    model.models["small"] = Own(model_name="small")
    model.with_structured_output(Person, method="json_schema", strict=True).invoke("Ada", stop=["END"])
    how, call = model.models["small"].calls
    assert how == ("json_schema", True)
    assert (call["temperature"], call["stop"]) == (0.5, ["END"])


def test_one_run_for_an_accepted_structured_answer(make, runs):
    model = make(0.9)
    model.with_structured_output(Person).invoke("Ada", {"callbacks": [runs]})
    assert len(runs.of("model")) == 1


def test_the_pool_of_the_doubles_is_the_policys():
    assert tuple(pool()) == policy().models


@pytest.mark.parametrize("text", ["Ada, 3", '{"name": "Ada"}', '{"name": "Ada", "age": "three"}'])
def test_a_text_that_has_not_the_providers_format_is_a_weak_answer(text):
    right = AIMessage('{"name": "Ada", "age": 3}')
    models = {
        "small": FakeMessagesListChatModel(responses=[AIMessage(text)]),
        "large": FakeMessagesListChatModel(responses=[right]),
    }
    model = CascadeChatModel(policy=policy(), models=models)
    schema = {"type": "json_schema", "json_schema": {"name": "Person", "schema": Person.model_json_schema()}}
    message = model.bind(response_format=schema).invoke("Ada")
    assert message.text == right.text
    assert message.response_metadata["cascade"]["failed_checks"] == ["unparsable"]


@pytest.mark.parametrize("choice", ["any", "add", True, {"type": "function", "function": {"name": "add"}}])
def test_a_text_where_a_call_was_forced_is_a_weak_answer(make, choice):
    message = make(small={"calls_tools": False}).bind_tools([add], tool_choice=choice).invoke("1 + 2?")
    assert trace_of(message)["failed_checks"] == ["missing_tool_call"]
    assert message.tool_calls[0]["name"] == "add"


@pytest.mark.parametrize("choice", [None, "auto", "none", {"type": "auto"}])
def test_a_text_where_no_call_was_forced_is_an_answer(make, choice):
    message = make(small={"calls_tools": False}).bind_tools([add], tool_choice=choice).invoke("1 + 2?")
    assert trace_of(message)["path"] == ["small"]


def looped(arguments, status="success"):
    call = {"name": "add", "args": arguments, "id": "1", "type": "tool_call"}
    return [HumanMessage("1 + 2?"), AIMessage("", tool_calls=[call]), ToolMessage("3", tool_call_id="1", status=status)]


@pytest.mark.parametrize(
    ("messages", "checks"),
    [
        (looped({"a": 1, "b": 2}), ["repeated_tool_call"]),
        (looped({"a": 2, "b": 2}), []),
        (looped({"a": 1, "b": 2}, status="error"), []),
        ([*looped({"a": 1, "b": 2}), HumanMessage("And again?")], []),
    ],
)
async def test_the_same_call_after_its_result_was_seen_is_a_weak_answer(make, messages, checks):
    again = AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}, "id": "2", "type": "tool_call"}])
    bound = make(small={"reply": again, "calls_tools": False}).bind_tools([add])
    chunks = list(bound.stream(messages))
    for message in (bound.invoke(messages), await bound.ainvoke(messages), chunks[0] + chunks[1:]):
        assert trace_of(message)["failed_checks"] == checks
        assert trace_of(message)["path"] == (["small", "large"] if checks else ["small"])
