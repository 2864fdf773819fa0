"""How errors are told: by their kind. Their texts may quote keys, prompts and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def told(error: BaseException) -> str:
    """The kind of an error and, where it came over HTTP, its status.

    Example:
        >>> told(TimeoutError("no answer to 'my password is …' within 5 s"))
        'TimeoutError'
    """
    status = http_status(error)
    return type(error).__name__ + ("" if status is None else f", HTTP {status}")


def http_status(error: BaseException) -> int | None:
    """The HTTP status behind an error, where clients put it.

    That is `status_code`, `response.status_code`, `code`, or the `ResponseMetadata` of botocore's response.

    Example:
        >>> from urllib.error import HTTPError
        >>> http_status(HTTPError("http://localhost", 429, "slow down", None, None))
        429
    """
    response = getattr(error, "response", None)
    places = (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(error, "code", None),
        _metadata(response).get("HTTPStatusCode"),
    )
    return next((found for found in places if isinstance(found, int) and 100 <= found <= 599), None)


def http_headers(error: BaseException) -> dict[str, str]:
    """The headers of the response behind an error, their names in lower case; empty where there is none."""
    response = getattr(error, "response", None)
    places = (
        getattr(response, "headers", None),
        getattr(error, "headers", None),
        _metadata(response).get("HTTPHeaders"),
    )
    found = next((each for each in places if isinstance(each, Mapping) and each), {})
    return {str(name).lower(): str(value) for name, value in found.items()}


def _metadata(response: Any) -> Mapping[str, Any]:
    found = response.get("ResponseMetadata") if isinstance(response, Mapping) else None
    return found if isinstance(found, Mapping) else {}
