"""One chat completion: ask the cascade, answer whole or as a stream of events, and stop when the client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from langchain_core.runnables import ensure_config
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cascade_components.serving.settings import CallSettings
from cascade_server.asked import arguments_of, messages_of, tools_of
from cascade_server.chat_request import ChatRequest
from cascade_server.completions import Deltas, completion, frame, headers, usage
from cascade_server.current import Current
from cascade_server.door import Seats, body_of
from cascade_server.errors import ApiError, api_error, broken_stream, validation_error
from cascade_server.points import check_point, settings_of
from cascade_server.presence import WhileThere
from cascade_server.settings import GatewaySettings
from langchain_cascade.call import Call
from langchain_cascade.driver import arun
from langchain_cascade.request import Request

_STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_DONE = b"data: [DONE]\n\n"


class ChatResponse(Response):
    """Answers a request for a chat completion when it is sent, in the request's own task.

    Args:
        current: What serves.
        seats: Of which the request takes one.
        settings: The gateway's.
    """

    def __init__(self, current: Current, seats: Seats, settings: GatewaySettings) -> None:
        super().__init__()
        self._current, self._seats, self._settings = current, seats, settings
        self._request: ChatRequest
        self._call: Call

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the request, and send the answer, as an ASGI application."""
        try:
            with self._seats.one():
                self._request = _parsed(await body_of(HttpRequest(scope, receive), self._settings.max_request_bytes))
                async with WhileThere(receive):
                    self._call = await self._begun()
                    answer = self._stream if self._request.stream else self._whole
                    await answer(scope, receive, send)
        except ClientDisconnect:
            return  # in the middle of its request
        except ApiError as error:
            await error.response()(scope, receive, send)

    async def _begun(self) -> Call:
        request, cascade = self._request, self._current.served.cascade
        wishes = settings_of(request.model, self._settings)
        if wishes != CallSettings():
            await asyncio.to_thread(check_point, cascade, wishes, request.model)
        return Call(
            cascade,
            Request(
                messages=messages_of(request),
                config=ensure_config({"metadata": dict(request.metadata or {})}),
                settings=wishes,
                kwargs=arguments_of(request),
                tools=tools_of(request),
                live=bool(request.stream),
            ),
        )

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                async for _ in arun(self._call):
                    pass
        except Exception as error:
            await api_error(error).response()(scope, receive, send)
            return
        message, trace = self._call.message, self._trace
        content = completion(message, self._request.model, logprobs=bool(self._request.logprobs))
        told = headers(trace, message.response_metadata["cascade"]["cost_usd"])
        await Response(orjson.dumps(content), 200, told, "application/json")(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        try:
            async with asyncio.timeout(self._settings.timeout_s), aclosing(self._events()) as events:
                async for event in events:
                    if not begun:
                        # Not before there is something to read: until then an error has a status of its own.
                        begun = True
                        await send(self._start())
                    await send({"type": "http.response.body", "body": event, "more_body": True})
        except Exception as error:
            if not begun:
                await api_error(error).response()(scope, receive, send)
                return
            event = b"data: " + orjson.dumps(broken_stream(error).body) + b"\n\n"
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _events(self) -> AsyncGenerator[bytes]:
        request, call = self._request, self._call
        options = request.stream_options
        counted = options is not None and bool(options.include_usage)
        deltas, head = Deltas(logprobs=bool(request.logprobs)), dict[str, Any]()
        async with aclosing(arun(call)) as chunks:
            async for chunk in chunks:
                for choice in deltas.of(chunk):
                    if not head:
                        head = self._head(counted=counted)
                        choice["delta"] = {"role": "assistant", **choice["delta"]}
                    yield _event({**head, "choices": [choice]})
        head = head or self._head(counted=counted)
        yield _event({**head, "choices": [deltas.last()]})
        if counted:
            yield _event({**head, "choices": [], "usage": usage(call.message)})
        yield _DONE

    def _head(self, *, counted: bool) -> dict[str, Any]:
        head = frame(self._trace, self._request.model, "chat.completion.chunk")
        return {**head, "usage": None} if counted else head

    def _start(self) -> dict[str, Any]:
        told = {"content-type": "text/event-stream; charset=utf-8", **_STREAM_HEADERS, **headers(self._trace)}
        raw = [(key.encode(), value.encode()) for key, value in told.items()]
        return {"type": "http.response.start", "status": 200, "headers": raw}

    @property
    def _trace(self) -> dict[str, Any]:
        return self._call.served.trace.to_dict()


def _parsed(body: bytes) -> ChatRequest:
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise validation_error(error, "chat completion") from None


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
