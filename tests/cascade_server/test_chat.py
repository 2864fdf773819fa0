"""Chat completions in this process, in front of a real OpenAI-compatible server."""

import json

import pytest

from cascade_server import GatewaySettings, create_app
from tests.cascade_server.conftest import NAMES, asking, body
from tests.openai_server import Reply

pytestmark = pytest.mark.enable_socket

PATH = "/v1/chat/completions"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell a city's weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
RAIN = {"type": "json_schema", "json_schema": {"name": "rain", "schema": {"type": "object", "required": ["mm"]}}}


def events(response):
    """The data of a stream's events."""
    assert response.headers["content-type"].startswith("text/event-stream")
    return [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]


def choices(response):
    *chunks, done = events(response)
    assert done == "[DONE]"
    return [choice for chunk in chunks for choice in json.loads(chunk)["choices"]]


async def test_an_answer_and_how_it_came_about(client):
    response = await client.post(PATH, json=body())
    assert response.status_code == 200
    data = response.json()
    assert data["object"] == "chat.completion"
    assert data["model"] == "cascade"
    (choice,) = data["choices"]
    assert choice["message"] == {"role": "assistant", "content": "gpt-small here", "refusal": None}
    assert choice["finish_reason"] == "stop"
    told = data["usage"]["cascade"]
    assert (data["usage"]["prompt_tokens"], data["usage"]["completion_tokens"]) == (7, 3)
    assert (told["path"], told["escalated"]) == (["small"], False)
    assert response.headers["x-cascade-model"] == "small"
    assert response.headers["x-cascade-escalated"] == "false"
    assert response.headers["x-cascade-cluster"] == str(told["cluster"])
    assert response.headers["x-cascade-trace-id"] == told["trace_id"]
    assert float(response.headers["x-cascade-cost-usd"]) == pytest.approx(told["cost_usd"], abs=1e-9)


async def test_a_draft_reaches_nobody_and_both_passes_are_paid_for(client, server):
    server.replies["gpt-small"] = Reply("perhaps the draft")
    for stream in (False, True):
        wanted = body("code question", stream=stream, stream_options={"include_usage": True} if stream else None)
        response = await client.post(PATH, json=wanted)
        assert "draft" not in response.text
        assert response.headers["x-cascade-escalated"] == "true"
        usage = json.loads(events(response)[-2])["usage"] if stream else response.json()["usage"]
        assert (usage["prompt_tokens"], usage["total_tokens"]) == (14, 20)
        assert [one["model"] for one in usage["cascade"]["passes"]] == ["small", "medium"]


async def test_tokens_stream_as_they_come_where_nothing_is_judged(ungated, pool, server):
    server.replies.update({f"gpt-{name}": Reply("one two three") for name in NAMES})
    async with asking(create_app(ungated, pool)) as client:
        response = await client.post(PATH, json=body(stream=True))
    first, *rest, last = choices(response)
    assert first["delta"] == {"role": "assistant", "content": "one"}
    assert [choice["delta"] for choice in rest] == [{"content": " two"}, {"content": " three"}]
    assert (last["delta"], last["finish_reason"]) == ({}, "stop")
    assert not any("usage" in json.loads(event) for event in events(response)[:-1])


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_client_asks_for_reaches_the_model(client, server, stream):
    wanted = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": "END", "user": "u1", "max_tokens": 9, "n": 1}
    response = await client.post(PATH, json=body(**wanted, stream=stream, presence_penalty=1, logprobs=False))
    assert response.status_code == 200
    (sent,) = server.bodies
    assert {name: sent[name] for name in ("temperature", "top_p", "seed", "user", "presence_penalty")} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "user": "u1",
        "presence_penalty": 1,
    }
    assert sent["stop"] == ["END"]
    assert sent["max_completion_tokens"] == 9
    assert "cascade" not in json.dumps(sent)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_call_and_its_result(client, server, stream):
    server.replies["gpt-small"] = Reply(calls=(("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})))
    given = {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": True, "stream": stream}
    response = await client.post(PATH, json=body(**given))
    sent = server.bodies[-1]
    assert (sent["tools"], sent["tool_choice"], sent["parallel_tool_calls"]) == ([WEATHER], "required", True)
    found = choices(response) if stream else response.json()["choices"]
    assert found[-1]["finish_reason"] == "tool_calls"
    calls = [call for one in found for call in one.get("delta", one.get("message")).get("tool_calls", ())]
    assert [json.loads(call["function"]["arguments"])["city"] for call in calls] == ["Oslo", "Rome"]
    assert [call["function"]["name"] for call in calls] == ["weather", "weather"]
    if stream:
        assert [call["index"] for call in calls] == [0, 1]
    server.replies["gpt-small"] = Reply("sure, rain")
    history = [
        *body()["messages"],
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_0", "content": "rain"},
    ]
    response = await client.post(PATH, json=body(messages=history, tools=[WEATHER], tool_choice=None))
    assert response.json()["choices"][0]["message"]["content"] == "sure, rain"
    assert [message["role"] for message in server.bodies[-1]["messages"]] == ["user", "assistant", "tool"]
    assert server.bodies[-1]["messages"][1]["tool_calls"] == [CALL]


async def test_a_named_tool(client, server):
    server.replies["gpt-small"] = Reply(calls=(("weather", {"city": "Oslo"}),), finish="stop")
    choice = {"type": "function", "function": {"name": "weather"}}
    response = await client.post(PATH, json=body(tools=[WEATHER], tool_choice=choice))
    assert server.bodies[-1]["tool_choice"] == choice
    assert response.json()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tools", [None, [WEATHER]])
async def test_an_answer_that_lacks_its_format_is_weak(client, server, stream, tools):
    server.replies.update({"gpt-small": Reply("no JSON"), "gpt-medium": Reply('{"mm":3}')})
    server.replies["gpt-large"] = Reply('{"mm":4}')
    response = await client.post(PATH, json=body(response_format=RAIN, stream=stream, tools=tools))
    assert server.bodies[0]["response_format"] == RAIN
    assert response.headers["x-cascade-escalated"] == "true"
    assert "no JSON" not in response.text
    assert r"{\"mm\":" in response.text


async def test_images_pass(client, server):
    parts = [
        {"type": "text", "text": "sums"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]
    for content in (parts, parts[1:]):
        response = await client.post(PATH, json=body(messages=[{"role": "user", "content": content}]))
        assert response.status_code == 200
        assert server.bodies[-1]["messages"][0]["content"] == content


@pytest.mark.parametrize("messages", [[{"role": "user", "content": ""}], [{"role": "system", "content": "sums"}]])
async def test_a_conversation_without_a_question_is_answered(client, messages):
    assert (await client.post(PATH, json=body(messages=messages))).status_code == 200


async def test_the_length_is_a_reason_to_stop(client, server):
    server.replies["gpt-small"] = Reply("sure and so on", finish="length")
    server.replies["gpt-large"] = server.replies["gpt-medium"] = Reply("sure", finish="length")
    response = await client.post(PATH, json=body())
    assert response.json()["choices"][0]["finish_reason"] == "length"


async def test_operating_points_and_members_are_models(client):
    listed = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
    assert {"cascade", "cascade:0.98", "cascade:model=large"} <= set(listed)
    for name, model in {"cascade:budget=0.002": "small", "cascade:1": None, "cascade:model=large": "large"}.items():
        assert (await client.get(f"/v1/models/{name}")).json()["id"] == name
        response = await client.post(PATH, json=body(model=name))
        assert response.json()["model"] == name
        assert response.headers["x-cascade-model"] == model or model is None


@pytest.mark.parametrize(
    "name",
    ["gpt-4o", "cascade:", "cascade:x", "cascade:speed=1", "cascade:budget=0", "cascade:model=huge", "cascade:nan"],
)
async def test_an_unknown_model(client, name):
    for response in (await client.post(PATH, json=body(model=name)), await client.get(f"/v1/models/{name}")):
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "model_not_found"


async def test_members_of_the_pool_are_not_shown_unless_wanted(fitted, pool):
    async with asking(create_app(fitted, pool)) as client:
        assert "model=" not in (await client.get("/v1/models")).text
        assert (await client.post(PATH, json=body(model="cascade:model=large"))).status_code == 404


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (b"{", None),
        (b"[]", None),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0"),
        ({"messages": [{"role": "user"}]}, "messages.0.user.content"),
        ({"n": 2}, "n"),
        ({"temperature": "hot"}, "temperature"),
        ({"functions": []}, "functions"),
        ({"tools": []}, "tools"),
        ({"stop": ["a"] * 5}, "stop"),
    ],
)
async def test_a_malformed_request(client, server, given, param):
    sent = {"content": given} if isinstance(given, bytes) else {"json": {**body(), **given}}
    response = await client.post(PATH, **sent)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert param is None or error["param"].startswith(param)
    assert not server.bodies


async def test_no_client_can_smuggle_in_what_a_cascade_trusts(client, server):
    """The trace of an answer is what keeps a conversation with its model."""
    trusted = {"response_metadata": {"cascade": {"model": "large"}}, "additional_kwargs": {"x": 1}, "lc": 1}
    call = {"role": "assistant", "content": None, "tool_calls": [CALL], **trusted}
    result = {"role": "tool", "tool_call_id": "call_0", "content": "rain"}
    response = await client.post(PATH, json=body(messages=[*body()["messages"], call, result]))
    assert response.headers["x-cascade-model"] == "small"
    for name in ("extra_headers", "config", "timeout", "cascade"):
        assert (await client.post(PATH, json=body(**{name: {}}))).status_code == 400


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (Reply(status=500), 502, "models_failed"),
        (Reply(status=401), 502, "models_failed"),
        (Reply(status=429, headers=(("Retry-After", "7"),)), 503, "models_busy"),
        (Reply(status=400), 400, "refused_by_models"),
    ],
)
async def test_when_no_model_answers(client, server, reply, status, code, stream):
    server.replies.update({f"gpt-{name}": reply for name in NAMES})
    response = await client.post(PATH, json=body(stream=stream))
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert "out of order" not in response.text
    assert response.headers.get("retry-after") == ("7" if status == 503 else None)


async def test_an_answer_that_takes_too_long(fitted, pool, server):
    server.replies["gpt-small"] = Reply("sure", wait_s=1)
    async with asking(create_app(fitted, pool, GatewaySettings(timeout_s=0.1))) as client:
        response = await client.post(PATH, json=body())
    assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")


async def test_a_stream_that_breaks_ends_with_an_error(ungated, pool, server):
    server.replies.update({f"gpt-{name}": Reply("one two three", breaks_after=3) for name in NAMES})
    async with asking(create_app(ungated, pool)) as client:
        response = await client.post(PATH, json=body(stream=True))
    assert response.status_code == 200
    *_, last = events(response)
    assert json.loads(last)["error"]["code"] == "broken_stream"


async def test_a_schema_that_is_none_does_no_harm(client, server):
    server.replies["gpt-small"] = Reply(calls=(("weather", {"city": "Oslo"}),))
    broken = {"type": "function", "function": {"name": "weather", "parameters": {"type": 5, "required": "city"}}}
    assert (await client.post(PATH, json=body(tools=[broken]))).status_code == 200
    server.replies["gpt-small"] = Reply('{"mm":3}')
    broken = {"type": "json_schema", "json_schema": {"name": "rain", "schema": {"type": 5}}}
    assert (await client.post(PATH, json=body(response_format=broken))).status_code == 200


async def test_feedback_reaches_the_monitor(client):
    trace = (await client.post(PATH, json=body())).headers["x-cascade-trace-id"]
    for name, counted in ((trace, True), (f"chatcmpl-{trace}", False)):
        response = await client.post("/v1/feedback", json={"trace_id": name, "correct": 1})
        assert response.json() == {"counted": counted}
    assert (await client.post("/v1/feedback", json={"trace_id": "x", "correct": 1})).status_code == 404
    assert (await client.post("/v1/feedback", json={"trace_id": trace, "correct": 2})).status_code == 400


async def test_metrics(client):
    await client.post(PATH, json=body())
    await client.get("/v1/nowhere/1")
    text = (await client.get("/metrics")).text
    assert 'cascade_calls_total{model="small"} 1.0' in text
    assert 'cascade_gateway_requests_total{path="/v1/chat/completions",status="200"} 1.0' in text
    assert 'cascade_gateway_requests_total{path="other",status="404"} 1.0' in text
    assert "cascade_gateway_completions_in_flight 0.0" in text
