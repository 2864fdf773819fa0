"""Structured output over HTTP, next to a plain client's: every schema and method; refusals, cut-off answers."""

from typing import TypedDict

import pytest
from langchain_openai.chat_models.base import OpenAIRefusalError
from pydantic import BaseModel
from pydantic.v1 import BaseModel as BaseModelV1

import cascade_components as cc
from tests.openai_server import Reply, structured, weather

from .ways import ask, calls_of, collected, trace_of

pytestmark = pytest.mark.enable_socket


class City(BaseModel):
    city: str


class CityV1(BaseModelV1):
    city: str


class CityDict(TypedDict):
    city: str


SCHEMAS = {
    "pydantic": City,
    "pydantic.v1": CityV1,
    "TypedDict": CityDict,
    "JSON schema": {"title": "City", "description": "A city.", **City.model_json_schema()},
}
METHODS = ["function_calling", "json_mode", "json_schema"]


def parser_of(model, schema, method, **kwargs):
    return model.with_structured_output(SCHEMAS[schema], method=method, **kwargs)


# A plain client warns, too, and falls back to tools.
warns_of_pydantic_v1 = pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema")
each_schema = pytest.mark.parametrize("schema", SCHEMAS)
each_method = pytest.mark.parametrize("method", METHODS)


@warns_of_pydantic_v1
@each_schema
@each_method
@pytest.mark.parametrize("include_raw", [False, True])
@pytest.mark.parametrize("probability", [None, 0.9, 0.1])
async def test_structured_output_is_a_plain_clients(make_served, server, schema, method, include_raw, probability):
    server.replies.update(small=structured({"city": "Oslo"}), large=structured({"city": "Oslo"}))
    plain = parser_of(server.client("large"), schema, method, include_raw=include_raw).invoke("Where?")
    parser = parser_of(make_served(probability), schema, method, include_raw=include_raw)
    found = [parser.invoke("Where?"), await parser.ainvoke("Where?"), *parser.batch(["Where?"])]
    found += [list(parser.stream("Where?"))[-1], (await collected(parser.astream("Where?")))[-1]]
    for one in found:
        if include_raw:
            assert one["parsing_error"] is None
            assert one["raw"].tool_calls == plain["raw"].tool_calls
            assert one["raw"].content == plain["raw"].content
            assert trace_of(one["raw"])["failed_checks"] == []
            one = one["parsed"]
        assert one == (plain["parsed"] if include_raw else plain)
        assert type(one) is type(plain["parsed"] if include_raw else plain)


@warns_of_pydantic_v1
@each_schema
@each_method
@pytest.mark.parametrize("strict", [None, True, False])
def test_the_request_for_structured_output_is_a_plain_clients(make_served, server, schema, method, strict):
    if strict is not None and method == "json_mode":
        for model in (server.client("small"), make_served()):
            with pytest.raises((ValueError, cc.AllModelsFailed)):
                parser_of(model, schema, method, strict=strict).invoke("Where?")
        return
    server.replies["small"] = structured({"city": "Oslo"})
    for model in (server.client("small"), make_served()):
        parser_of(model, schema, method, strict=strict).invoke("Where?")
    plain, cascade = server.bodies
    assert {**cascade, "stream": None} == {**plain, "stream": None}


@warns_of_pydantic_v1
@pytest.mark.parametrize("draft", ['{"city": ', "{}", '{"town": "Oslo"}'])
@pytest.mark.parametrize(
    ("schema", "method"),
    [(schema, method) for schema in SCHEMAS for method in METHODS if method != "json_mode" or "pydantic" in schema],
)
async def test_a_structured_answer_that_does_not_fit_is_replaced(make_served, server, schema, method, draft):
    server.replies.update(small=structured(draft), large=structured({"city": "Oslo"}))
    parser = parser_of(make_served(), schema, method, include_raw=True)
    for found in (parser.invoke("Where?"), await parser.ainvoke("Where?")):
        assert dict(found["parsed"]) == {"city": "Oslo"}
        assert trace_of(found["raw"])["path"] == ["small", "large"]


def test_json_without_a_schema(make_served, server):
    server.replies["small"] = structured({"anything": 1})
    assert make_served().with_structured_output(None, method="json_mode").invoke("What?") == {"anything": 1}


def test_tools_beside_a_schema(make_served, server):
    server.replies["small"] = Reply(calls=(("weather", {"city": "Oslo"}),))
    kwargs = {"tools": [weather], "strict": True, "include_raw": True}
    plain = parser_of(server.client("small"), "pydantic", "json_schema", **kwargs).invoke("Weather?")
    found = parser_of(make_served(), "pydantic", "json_schema", **kwargs).invoke("Weather?")
    assert calls_of(found["raw"]) == calls_of(plain["raw"]) == [("weather", {"city": "Oslo"}, "call_0")]
    assert (found["parsed"], found["parsing_error"]) == (plain["parsed"], plain["parsing_error"]) == (None, None)
    assert trace_of(found["raw"])["path"] == ["small"]


# — refusals and cut-off answers —


@pytest.mark.parametrize(
    ("probability", "way"),
    [
        *((probability, way) for probability in (None, 0.9) for way in ("invoke", "ainvoke", "batch", "agenerate")),
        *((0.9, way) for way in ("stream", "astream", "stream_events_v3", "astream_events_v3")),
    ],
)
@pytest.mark.parametrize(
    ("draft", "check"),
    [
        (Reply(refusal="I cannot help."), "refused"),
        (Reply("I won't", finish="content_filter"), "refused"),
        (Reply("It was the best of", finish="length"), "truncated"),
        (Reply("  "), "empty"),
    ],
)
async def test_an_answer_that_is_none_is_replaced(make_served, server, probability, way, draft, check):
    server.replies["small"] = draft
    message = await ask(way, make_served(probability))
    assert message.text == "large here"
    assert message.additional_kwargs.get("refusal") is None
    assert trace_of(message)["path"] == ["small", "large"]
    assert check in trace_of(message)["failed_checks"]


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
@pytest.mark.parametrize("draft", [Reply(refusal="I cannot help."), Reply('{"city": "Os', finish="length")])
async def test_a_structured_answer_that_is_none_is_replaced(make_served, server, method, draft):
    server.replies.update(small=draft, large=structured({"city": "Oslo"}))
    parser = make_served(0.9).with_structured_output(City, method=method)
    assert parser.invoke("Where?") == await parser.ainvoke("Where?") == City(city="Oslo")


def test_if_all_refuse_the_refusal_is_a_plain_clients(make_served, server):
    server.replies.update(small=Reply(refusal="I cannot help."), large=Reply(refusal="I cannot help."))
    with pytest.raises(OpenAIRefusalError, match="I cannot help"):
        make_served().with_structured_output(City).invoke("Where?")
    found = make_served().with_structured_output(City, include_raw=True).invoke("Where?")
    assert found["parsed"] is None
    assert isinstance(found["parsing_error"], OpenAIRefusalError)
    assert make_served().invoke("Where?").additional_kwargs["refusal"] == "I cannot help."
