"""The gateway's OpenAPI schema: the bodies are read without FastAPI, which would convert what OpenAI's API refuses."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from cascade_server.chat_request import ChatRequest

_REF = "#/components/schemas/"
_ERRORS = {
    400: "The request is malformed, or the models refuse it.",
    401: "The API key is missing or wrong.",
    404: "There is no such model, or call.",
    413: "The request is too long.",
    429: "Too many requests at a time, or a spending limit is reached.",
    500: "The gateway failed.",
    502: "No model could answer.",
    503: "Not ready, or all models ask for a pause.",
    504: "The answer took too long.",
}


class Feedback(BaseModel):
    """Whether an answer was right."""

    model_config = ConfigDict(strict=True, extra="forbid")

    trace_id: Annotated[str, Field(min_length=1)]
    """The header `x-cascade-trace-id` of the answer, or its `id`."""
    correct: Annotated[float, Field(ge=0, le=1)]


class FeedbackTaken(BaseModel):
    """What became of feedback."""

    counted: bool
    """False: there has been feedback on this answer before."""


class Error(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """An error."""

    error: Error


class Choice(BaseModel):
    """The answer."""

    index: int
    message: dict[str, Any]
    finish_reason: str
    logprobs: dict[str, Any] | None


class Usage(BaseModel):
    """Tokens of all passes, and how the answer came about."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cascade: dict[str, Any]


class ChatCompletion(BaseModel):
    """An answer."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Model(BaseModel):
    """A model that can be asked."""

    id: str
    object: str
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The models that are listed."""

    object: str
    data: list[Model]


class Status(BaseModel):
    """How the gateway is."""

    status: str
    policy: str | None = None


_MODELS: tuple[type[BaseModel], ...] = (
    *(ChatRequest, ChatCompletion, Feedback, FeedbackTaken, ErrorBody, ModelList, Model, Status),
)


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"{_REF}{model.__name__}"}}}


def _operation(about: str, answer: dict[str, Any], *errors: int, body: type[BaseModel] | None = None) -> dict[str, Any]:
    """What FastAPI is told of a route: what it does, and what it takes and gives."""
    responses: dict[str, Any] = {"200": {"description": about, "content": answer}}
    responses |= {str(code): {"description": _ERRORS[code], "content": _content(ErrorBody)} for code in errors}
    extra: dict[str, Any] = {"responses": responses}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": _content(body)}
    return {"summary": about, "openapi_extra": extra, "response_model": None}


_EVENT = {"type": "object", "required": ["data"], "properties": {"data": {"type": "string"}}}
_EVENTS = {"text/event-stream": {"schema": _EVENT}}
CHAT = _operation(
    "Answer a conversation, whole or as a stream of events.",
    {**_content(ChatCompletion), **_EVENTS},
    *(400, 401, 404, 413, 429, 500, 502, 503, 504),
    body=ChatRequest,
)
MODELS = _operation("The cascade under its name, and at operating points.", _content(ModelList), 401)
MODEL = _operation("One model.", _content(Model), 401, 404)
FEEDBACK = _operation("Say whether an answer was right.", _content(FeedbackTaken), 400, 401, 404, 413, body=Feedback)
STATUS = _operation("How the gateway is.", _content(Status), 503)
TEXT = _operation("Metrics, in Prometheus's format.", {"text/plain": {"schema": {"type": "string"}}})


def describe(app: FastAPI, *, keys: bool) -> None:
    """Give an application its schema, which `/openapi.json` shows.

    Args:
        app: The application, with all its routes.
        keys: Whether clients need an API key.
    """

    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, routes=app.routes)
            _, defined = models_json_schema([(model, "validation") for model in _MODELS], ref_template=_REF + "{model}")
            components = found.setdefault("components", {})
            components.setdefault("schemas", {}).update(defined["$defs"])
            if keys:
                components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
                for path in (path for name, path in found["paths"].items() if name.startswith("/v1/")):
                    for operation in path.values():
                        operation["security"] = [{"key": []}]
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]
