"""How errors are told: by their kind. Their texts may quote keys, prompts and answers."""

from __future__ import annotations


def told(error: BaseException) -> str:
    """The kind of an error and, where it came over HTTP, its status.

    Example:
        >>> told(TimeoutError("no answer to 'my password is …' within 5 s"))
        'TimeoutError'
    """
    status = http_status(error)
    return type(error).__name__ + ("" if status is None else f", HTTP {status}")


def http_status(error: BaseException) -> int | None:
    """The HTTP status behind an error, where clients put it: `status_code`, `response.status_code`, or `code`.

    Example:
        >>> from urllib.error import HTTPError
        >>> http_status(HTTPError("http://localhost", 429, "slow down", None, None))
        429
    """
    response = getattr(error, "response", None)
    places = (getattr(error, "status_code", None), getattr(response, "status_code", None), getattr(error, "code", None))
    return next((found for found in places if isinstance(found, int) and 100 <= found <= 599), None)
