"""What goes wrong, told as OpenAI's API tells it: a status and a JSON object, never a text that may hold a secret."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from cascade_components.cascade import AllModelsFailed
from cascade_components.failures import http_status, told
from cascade_components.serving.faults import blames_model, retry_after_s
from cascade_components.spending import SpendLimitError

_log = logging.getLogger(__name__)

_BUSY = frozenset({429, 503, 529})


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: Its HTTP status.
        message: What went wrong, and what to do.
        kind: OpenAI's `type`.
        code: OpenAI's `code`.
        param: The field of the request that is to blame.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}

    def response(self) -> Response:
        """The error as the answer to a request."""
        return Response(orjson.dumps(self.body), self.status, self.headers, "application/json")


def api_error(error: BaseException) -> ApiError:
    """What a client is told of an error that a call through the cascade raised.

    Args:
        error: The error. Of a model's own error, only kind and status are told.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, AllModelsFailed):
        return _none_answered([*_leaves(error)])
    if isinstance(error, SpendLimitError):
        return ApiError(429, "The spending limit is reached.", kind="insufficient_quota", code="insufficient_quota")
    if isinstance(error, TimeoutError):
        return ApiError(504, "The answer took too long.", kind="server_error", code="timeout")
    if isinstance(error, ValueError):  # of the cascade itself: a model's own is among those of AllModelsFailed
        return ApiError(400, str(error))
    _log.error("A request failed: %s", told(error))
    return ApiError(500, f"The gateway failed ({told(error)}).", kind="server_error", code="internal_error")


def broken_stream(error: Exception) -> ApiError:
    """What is told of an error after part of the answer was sent."""
    if isinstance(error, TimeoutError):
        return api_error(error)
    message = f"The model failed after part of its answer had been streamed ({told(error)})."
    return ApiError(502, message, kind="server_error", code="broken_stream")


def _none_answered(errors: list[BaseException]) -> ApiError:
    """What is told where nobody could answer."""
    kinds = ", ".join(dict.fromkeys(told(error) for error in errors))
    message = f"No model of the cascade could answer ({kinds})."
    if all(not blames_model(error) for error in errors):
        return ApiError(400, f"{message} The models refused the request as it is.", code="refused_by_models")
    if all(isinstance(error, TimeoutError) or "Timeout" in type(error).__name__ for error in errors):
        return ApiError(504, message, kind="server_error", code="timeout")
    if all(http_status(error) in _BUSY for error in errors):
        waits = [wait for error in errors if (wait := retry_after_s(error)) is not None]
        headers = {"Retry-After": str(math.ceil(min(waits, default=1.0)))}
        return ApiError(503, message, kind="server_error", code="models_busy", headers=headers)
    return ApiError(502, message, kind="server_error", code="models_failed")


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def validation_error(error: ValidationError, what: str) -> ApiError:
    """What a client is told of a body that is not what it should be; its values are not repeated.

    Args:
        error: Pydantic's.
        what: What it should be.
    """
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = f"{place}: {first['msg']}" if place else first["msg"]
    return ApiError(400, f"The request is no {what}: {message}.", param=place or None)
