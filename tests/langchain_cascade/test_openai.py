"""Over HTTP: real clients of an OpenAI-compatible server on loopback."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from langchain_cascade import CascadeChatModel

from .doubles import policy

pytestmark = pytest.mark.enable_socket

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


class Completions(BaseHTTPRequestHandler):
    """Says which model was asked; calls the first tool it is given; `broken` answers 500."""

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if body["model"] == "broken":
            self._send(500, "application/json", json.dumps({"error": {"message": "out of order"}}))
        elif body.get("stream"):
            self._send(200, "text/event-stream", "".join(self._chunks(body)))
        else:
            finish, message = self._message(body)
            choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}
            self._send(200, "application/json", json.dumps({**self._frame(body), "choices": [choice], "usage": USAGE}))

    def _frame(self, body):
        return {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}

    def _message(self, body):
        if "response_format" in body:
            return "stop", {"content": json.dumps({"city": body["model"]})}
        if not body.get("tools"):
            return "stop", {"content": f"{body['model']} here"}
        name = body["tools"][0]["function"]["name"] if body["model"] == "large" else "no_such_tool"
        call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": '{"city": "Oslo"}'}}
        return "tool_calls", {"content": None, "tool_calls": [call]}

    def _chunks(self, body):
        finish, message = self._message(body)
        words = (message["content"] or "").split()
        deltas = [{"role": "assistant", "content": ""}, *({"content": f"{word} "} for word in words)]
        deltas += [{"tool_calls": [{"index": 0, **call}]} for call in message.get("tool_calls", [])]
        frame = {**self._frame(body), "object": "chat.completion.chunk"}
        events = [{**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        events.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if body.get("stream_options", {}).get("include_usage"):
            events.append({**frame, "choices": [], "usage": USAGE})
        return [*(f"data: {json.dumps(event)}\n\n" for event in events), "data: [DONE]\n\n"]

    def _send(self, status, kind, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Completions) as found:
        found.daemon_threads = True
        found.bodies = []
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def make(server):
    url = f"http://127.0.0.1:{server.server_port}/v1"

    def make(probability, small="small", **kwargs):
        models = {
            name: ChatOpenAI(
                model=model, base_url=url, api_key="none", max_retries=0, stream_usage=True, timeout=30, **kwargs
            )
            for name, model in (("small", small), ("large", "large"))
        }
        return CascadeChatModel(policy=policy(probability), models=models)

    return make


@tool
def weather(city: str) -> str:
    """Tell a city's weather."""
    return "rain"


class City(BaseModel):
    city: str


@pytest.mark.parametrize(("probability", "text"), [(0.9, "small here"), (0.1, "large here"), (None, "small here")])
async def test_invoke_and_stream(make, probability, text):
    model = make(probability)
    chunks = list(model.stream("Hello"))
    achunks = [chunk async for chunk in model.astream("Hello")]
    found = [model.invoke("Hello"), await model.ainvoke("Hello"), chunks[0] + chunks[1:], achunks[0] + achunks[1:]]
    passes = 2 if probability == 0.1 else 1
    for message in found:
        assert message.text.strip() == text
        assert message.usage_metadata["total_tokens"] == 10 * passes
        assert message.response_metadata["model_name"] == text.split()[0]
        assert len(message.response_metadata["cascade"]["passes"]) == passes


def test_tool_calls(make):
    bound = make(0.9).bind_tools([weather])
    chunks = list(bound.stream("Weather in Oslo?"))
    for message in (bound.invoke("Weather in Oslo?"), chunks[0] + chunks[1:]):
        assert [(call["name"], call["args"]) for call in message.tool_calls] == [("weather", {"city": "Oslo"})]
        assert message.response_metadata["cascade"]["failed_checks"] == ["unknown_tool"]


def test_structured_output(make):
    found = make(None).with_structured_output(City, method="json_schema", include_raw=True).invoke("Which city?")
    assert found["parsed"] == City(city="small")
    assert found["raw"].response_metadata["cascade"]["path"] == ["small"]


def test_a_server_error_is_a_failure_of_that_model_alone(make):
    trace = make(0.9, small="broken").invoke("Hello").response_metadata["cascade"]
    assert [failure["model"] for failure in trace["failures"]] == ["small"]
    assert trace["model"] == "large"


def test_a_draft_is_called_without_streaming(make, server):
    list(make(0.9, streaming=True).stream("Hello"))
    assert [body.get("stream") for body in server.bodies] == [False]
