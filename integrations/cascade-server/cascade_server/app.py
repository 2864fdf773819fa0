"""The gateway: OpenAI's API in front of a cascade."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from cascade_server.chat import ChatResponse
from cascade_server.current import Current
from cascade_server.door import Door, Keys, Seats, body_of
from cascade_server.errors import ApiError, validation_error
from cascade_server.metrics import Traffic
from cascade_server.openapi import CHAT, FEEDBACK, MODEL, MODELS, STATUS, TEXT, Feedback, describe
from cascade_server.points import check_point, models_of, settings_of
from cascade_server.settings import GatewaySettings, GivenPool, PolicySource


def create_app(
    policy: PolicySource,
    pool: GivenPool,
    settings: GatewaySettings = GatewaySettings(),  # noqa: B008 - frozen
) -> FastAPI:
    """Make the gateway, an ASGI application.

    Policy and pool are loaded and checked here; what a first call would wait for is loaded once the application
    starts, and until then `/ready` answers 503.

    Args:
        policy: The policy's folder, which is watched for a new one; or a policy, which stays.
        pool: The policy's models by name, a `Pool` with their prices, too, or a function without arguments that makes
            one. Arguments of this function can be pickled if the pool is given by a function.
        settings: The rest.

    Returns:
        The application. `app.state.current` holds what serves, and its `reload()` looks for a new policy at once.

    Raises:
        OSError: The policy cannot be read.
        ValueError: It is damaged, or not this pool's.

    Example:
        >>> app = create_app("policy/", {"small": small, "large": large})     # doctest: +SKIP
        >>> uvicorn.run(app, port=8000)                                       # doctest: +SKIP
    """
    current, seats = Current(policy, pool, settings), Seats(settings)
    traffic = Traffic(lambda: current.served.monitor, lambda: seats.taken)
    app = FastAPI(title="Cascade gateway", version="1", lifespan=_lifespan, docs_url=None, redoc_url=None)
    app.state.current, app.state.settings, app.state.seats = current, settings, seats
    app.add_middleware(Door, keys=Keys(settings.api_keys), traffic=traffic)
    app.add_exception_handler(HTTPException, _as_json)
    app.add_exception_handler(ApiError, _as_json)
    _add_api(app, current, seats, settings)
    _add_operations(app, current, traffic)
    describe(app, keys=bool(settings.api_keys))
    return app


def _add_api(app: FastAPI, current: Current, seats: Seats, settings: GatewaySettings) -> None:
    """What clients call."""

    @app.post("/v1/chat/completions", **CHAT)
    async def create_chat_completion() -> Response:
        return ChatResponse(current, seats, settings)

    @app.get("/v1/models", **MODELS)
    async def list_models() -> Response:
        found = models_of(current.served.cascade, settings)
        return _json({"object": "list", "data": [_model(name, current) for name in found]})

    @app.get("/v1/models/{model}", **MODEL)
    async def retrieve_model(model: str) -> Response:
        cascade = current.served.cascade
        await asyncio.to_thread(check_point, cascade, settings_of(model, settings), model)
        return _json(_model(model, current))

    @app.post("/v1/feedback", **FEEDBACK)
    async def record_feedback(request: Request) -> Response:
        told = _feedback(await body_of(request, settings.max_request_bytes))
        try:
            counted = current.served.monitor.record_feedback(told.trace_id.removeprefix("chatcmpl-"), told.correct)
        except ValueError as error:
            raise ApiError(404, str(error), code="trace_not_found", param="trace_id") from None
        return _json({"counted": counted})


def _add_operations(app: FastAPI, current: Current, traffic: Traffic) -> None:
    """What those call that run the gateway."""

    @app.get("/health", **STATUS)
    async def is_alive() -> Response:
        return _json({"status": "alive"})

    @app.get("/ready", **STATUS)
    async def is_ready() -> Response:
        if current.ready:
            return _json({"status": "ready", "policy": current.served.policy.fingerprint})
        raise ApiError(503, "The policy is not loaded yet.", kind="server_error", code="not_ready")

    @app.get("/metrics", **TEXT)
    async def show_metrics() -> Response:
        return Response(await asyncio.to_thread(traffic.text), media_type=traffic.media_type)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    current, loop = app.state.current, asyncio.get_running_loop()
    tasks = [asyncio.create_task(current.warm_up()), asyncio.create_task(current.watch())]
    if app.state.settings.reload_on_hangup:
        loop.add_signal_handler(signal.SIGHUP, lambda: tasks.append(asyncio.create_task(current.reload())))
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _model(name: str, current: Current) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": current.since, "owned_by": "cascade"}


def _feedback(body: bytes) -> Feedback:
    try:
        return Feedback.model_validate_json(body)
    except ValidationError as error:
        raise validation_error(error, "feedback") from None


async def _as_json(_: Request, error: Exception) -> Response:
    """What Starlette refuses, such as a path that there is not, told as the rest is."""
    if isinstance(error, HTTPException):
        error = ApiError(error.status_code, str(error.detail), code="not_found", headers=error.headers)
    assert isinstance(error, ApiError)  # noqa: S101 - no other is sent here
    return error.response()


def _json(data: dict[str, Any]) -> Response:
    return Response(orjson.dumps(data), media_type="application/json")
