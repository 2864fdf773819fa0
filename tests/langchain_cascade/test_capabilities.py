"""Who can take a call, by the wrapped models' profiles."""

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from .doubles import policy
from .test_chat_model import tool_loop
from .ways import trace_of


@tool
def look_up(name: str) -> str:
    """Look a name up."""
    return name


class Person(BaseModel):
    name: str


IMAGE = {"type": "image", "base64": "aGk=", "mime_type": "image/png"}
FORMAT = {"type": "json_schema", "json_schema": {"name": "Person", "schema": Person.model_json_schema()}}


def without(*features, **limits):
    return {"profile": {**dict.fromkeys(features, False), **limits}}


def question(*blocks):
    return [HumanMessage([{"type": "text", "text": "Who is this?"}, *blocks])]


def path(message):
    return trace_of(message)["path"]


@pytest.mark.parametrize(
    ("small", "block"),
    [
        ("image_inputs", IMAGE),
        ("image_inputs", {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}),
        ("pdf_inputs", {"type": "file", "base64": "aGk=", "mime_type": "application/pdf"}),
        ("audio_inputs", {"type": "audio", "base64": "aGk=", "mime_type": "audio/wav"}),
    ],
)
def test_a_model_that_cannot_read_a_file_is_not_asked(make, small, block):
    model = make(small=without(small))
    assert path(model.invoke(question(block))) == ["large"]
    assert path(model.invoke(question())) == ["small"]
    assert model.models["large"].calls[0]["messages"][0].content[1] == block  # untouched


def test_a_file_in_a_tools_result_is_another_capability(make):
    *before, _ = tool_loop("small")
    shown = [*before, ToolMessage([IMAGE], tool_call_id="1")]
    assert path(make(small=without("image_tool_message")).invoke(shown)) == ["large"]
    assert path(make(small=without("image_inputs")).invoke(shown)) == ["small"]


def test_a_model_without_tools_is_not_asked_to_call_them(make):
    model = make(small=without("tool_calling"))
    message = model.bind_tools([look_up]).invoke("Ada")
    assert (path(message), trace_of(message)["failures"]) == (["large"], [])
    assert path(model.invoke("Ada")) == ["small"]
    assert path(model.bind_tools([]).invoke("Ada")) == ["small"]


@pytest.mark.parametrize(
    ("lacking", "method", "expected"),
    [
        (["structured_output"], "json_schema", ["large"]),
        (["structured_output"], "function_calling", ["small"]),
        (["structured_output"], None, ["small"]),
        (["tool_calling"], "function_calling", ["large"]),
        (["tool_calling", "structured_output"], None, ["large"]),
        (["tool_calling", "structured_output"], "json_mode", ["small"]),
    ],
)
def test_structured_output_takes_what_its_method_takes(make, lacking, method, expected):
    model = make(small=without(*lacking))
    how = {} if method is None else {"method": method}
    found = model.with_structured_output(Person, include_raw=True, **how).invoke("The 'name', please.")
    assert path(found["raw"]) == expected


def test_a_bound_response_format_takes_structured_output(make):
    model = make(small=without("structured_output"))
    assert path(model.bind(response_format=FORMAT).invoke("The 'name', please.")) == ["large"]
    assert path(model.bind_tools([], response_format=FORMAT).invoke("The 'name', please.")) == ["large"]


def test_a_prompt_that_is_too_long_goes_to_a_longer_context(make):
    model = make(small=without(max_input_tokens=100), large=without(max_input_tokens=1000))
    assert path(model.invoke("word " * 50)) == ["small"]
    assert path(model.invoke("word " * 200)) == ["large"]
    assert path(model.invoke("word " * 2000)) == ["large"]  # the estimate may be wrong: its provider decides


def test_an_escalation_goes_only_to_a_model_that_can_take_the_call(make):
    message = make(0.1, large=without("image_inputs")).invoke(question(IMAGE))
    assert path(message) == ["small"]


async def test_what_nobody_can_do_is_a_clear_error(make):
    model = make(small=without("image_inputs"), large=without("image_inputs"))
    with pytest.raises(ValueError, match="small has no image_inputs; large has no image_inputs"):
        model.invoke(question(IMAGE))
    with pytest.raises(ValueError, match="correct its profile"):
        _ = [chunk async for chunk in model.astream(question(IMAGE))]


def test_a_model_named_for_the_call_is_asked_whatever_its_profile_says(make):
    config = {"configurable": {"cascade": {"model": "small"}}}
    assert path(make(small=without("image_inputs")).invoke(question(IMAGE), config)) == ["small"]


def test_the_double_has_no_profile(make):
    assert policy().last_resorts == ("small", "large")
    assert make().profile is None
