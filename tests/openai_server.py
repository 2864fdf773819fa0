"""An OpenAI-compatible server on loopback that says what it is told."""

import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@dataclass(frozen=True)
class Reply:
    """What a model answers to one request."""

    text: str | None = None
    calls: tuple = ()
    """Tool calls: names with arguments, or with text that was meant to be arguments."""
    refusal: str | None = None
    finish: str | None = None
    """Why the answer ended; None: what fits."""
    status: int = 200
    wait_s: float = 0.0
    headers: tuple = ()
    """Further headers: names with values."""
    breaks_after: int | None = None
    """Events of a stream after which the connection is cut."""

    @property
    def finish_reason(self):
        return self.finish or ("tool_calls" if self.calls else "stop")

    @property
    def message(self):
        calls = [
            {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": _text(arguments)}}
            for number, (name, arguments) in enumerate(self.calls)
        ]
        given = {"content": self.text, "tool_calls": calls, "refusal": self.refusal}
        return {"role": "assistant", "content": None} | {name: value for name, value in given.items() if value}

    @property
    def deltas(self):
        """The message as a stream has it: word by word, and arguments a few characters at a time."""
        yield {"role": "assistant", "content": ""}
        for name in ("text", "refusal"):
            for word in re.findall(r"\s*\S+", getattr(self, name) or ""):
                yield {"content" if name == "text" else name: word}
        for number, call in enumerate(self.message.get("tool_calls", ())):
            arguments = call["function"]["arguments"]
            yield {"tool_calls": [{**call, "index": number, "function": {**call["function"], "arguments": ""}}]}
            for piece in re.findall(r".{1,4}", arguments):
                yield {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}


def structured(arguments):
    """Answers with the arguments, by whatever means the request asks for."""

    def reply(body):
        choice = body.get("tool_choice")
        if not body.get("tools") or choice == "none":
            return Reply(_text(arguments))
        called = choice if isinstance(choice, dict) else body["tools"][0]
        return Reply(calls=((called["function"]["name"], arguments),))

    return reply


@tool
def weather(city: str) -> str:
    """Tell a city's weather."""
    return "rain"


@tool
def clock(city: str) -> str:
    """Tell a city's time."""
    return "noon"


BOTH = Reply(calls=(("weather", {"city": "Oslo"}), ("clock", {"city": "Rome"})))
"""Calls of both tools."""


def _text(arguments):
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


class OpenAIServer(ThreadingHTTPServer):
    """Answers for any model: as `replies` has it, else with the model's name; keeps the requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Completions)
        self.replies = {}
        """By model: a `Reply`, or a function of the request's body that gives one."""
        self.bodies = []
        self.closing = threading.Event()
        self._clients = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def client(self, model, **kwargs):
        """A client, made once: to make one takes longer than to ask it."""
        key = (model, repr(kwargs))
        if key not in self._clients:
            settings = {"api_key": "none", "max_retries": 0, "stream_usage": True, "timeout": 30}
            self._clients[key] = ChatOpenAI(model=model, base_url=self.url, **{**settings, **kwargs})
        return self._clients[key]

    def forget(self):
        """As it was at the start."""
        self.replies.clear()
        self.bodies.clear()

    def reply(self, body):
        given = self.replies.get(body["model"], Reply(f"{body['model']} here"))
        return given(body) if callable(given) else given


class _Completions(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        reply = self.server.reply(body)
        if self.server.closing.wait(reply.wait_s):
            return
        frame = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}
        if reply.status != 200:
            text = json.dumps({"error": {"message": "out of order"}})
            self._send(reply.status, "application/json", text, reply.headers)
        elif body.get("stream") and reply.breaks_after is not None:
            events = list(_events(frame, reply, include_usage=False))
            whole = len("".join(events).encode())
            text = "".join(events[: reply.breaks_after])
            self._send(200, "text/event-stream", text, (("Content-Length", str(whole)),))
            self.close_connection = True
        elif body.get("stream"):
            include_usage = (body.get("stream_options") or {}).get("include_usage")
            self._send(200, "text/event-stream", "".join(_events(frame, reply, include_usage)))
        else:
            choice = {"index": 0, "finish_reason": reply.finish_reason, "message": reply.message}
            self._send(200, "application/json", json.dumps({**frame, "choices": [choice], "usage": USAGE}))

    def _send(self, status, kind, text, headers=()):
        data = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _events(frame, reply, include_usage):
    frame = {**frame, "object": "chat.completion.chunk"}
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in reply.deltas]
    for choice in [*choices, {"index": 0, "delta": {}, "finish_reason": reply.finish_reason}]:
        yield f"data: {json.dumps({**frame, 'choices': [choice]})}\n\n"
    if include_usage:
        yield f"data: {json.dumps({**frame, 'choices': [], 'usage': USAGE})}\n\n"
    yield "data: [DONE]\n\n"


@contextmanager
def serving():
    """A server that runs."""
    with OpenAIServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
