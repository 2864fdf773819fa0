"""What an error of a model means: is the model to blame, is it worth asking again, and when."""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime
from typing import Any

from cascade_components.failures import http_headers, http_status
from cascade_components.spending import SpendLimitError

_PASSING = frozenset({408, 409, 429})
"""Beside 5xx: statuses that may be different in a moment."""

_CALLERS = frozenset({400, 405, 406, 411, 413, 414, 415, 422, 431, 451})
"""Statuses that say that the request was wrong (too long, against a policy, …): any model might say so."""

_PAUSES = frozenset({429, 503, 529})
"""Statuses whose Retry-After asks everybody to wait."""

_CONNECTION = frozenset(
    {
        "APIConnectionError",  # openai and anthropic; their time-outs are of this kind, too
        "TransportError",  # httpx: time-outs, resets, protocol errors
        "ClientConnectionError",  # aiohttp
        "ServerDisconnectedError",
        "RequestException",  # requests
        "HTTPClientError",  # botocore
    }
)
"""Kinds of errors of clients without a status, which the core doesn't import: found by the names of their classes."""

_OF_THE_REQUEST = frozenset(
    {
        "ContextOverflowError",  # these three are langchain-core's
        "ModelInvalidRequestError",
        "ModelRefusalError",
        "LengthFinishReasonError",  # openai: how one answer ended
        "ContentFilterFinishReasonError",
    }
)
"""Kinds of errors without a status that say something about one request or answer."""


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later.

    Example:
        >>> may_pass(TimeoutError()), may_pass(ValueError())
        (True, False)
    """
    status = http_status(error)
    if status is not None:
        return status in _PASSING or status >= 500
    if isinstance(error, ConnectionError | TimeoutError) or getattr(error, "is_retryable", False) is True:
        return True  # `is_retryable` is langchain-core's word
    return not _CONNECTION.isdisjoint(_kinds(error))


def blames_model(error: BaseException) -> bool:
    """Whether an error counts against its model: not where the request was wrong, or nothing was asked.

    Example:
        >>> blames_model(ConnectionResetError()), blames_model(ValueError("the prompt is too long"))
        (True, False)
    """
    status = http_status(error)
    if status is not None:
        return status not in _CALLERS
    if isinstance(error, SpendLimitError) or not _OF_THE_REQUEST.isdisjoint(_kinds(error)):
        return False
    if isinstance(error, json.JSONDecodeError | UnicodeError):
        return True
    return not isinstance(error, ValueError | TypeError | NotImplementedError)


def retry_after_s(error: BaseException) -> float | None:
    """How long the model asks everybody to wait, in seconds; None: it does not ask."""
    if http_status(error) not in _PAUSES:
        return None
    headers = http_headers(error)
    found = _number(headers.get("retry-after-ms"), 0.001) or _number(headers.get("retry-after"), 1.0)
    return found if found is not None else _until(headers.get("retry-after"))


def _number(value: Any, unit: float) -> float | None:
    try:
        seconds = float(value) * unit
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _until(date: Any) -> float | None:
    """The other form of the header: an HTTP date."""
    try:
        return max(0.0, parsedate_to_datetime(str(date)).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
