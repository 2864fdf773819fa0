"""Who may come in, with how much, and how many at a time: before anything of a request is looked at."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cascade_server.errors import ApiError
from cascade_server.metrics import Traffic
from cascade_server.settings import GatewaySettings


class Keys:
    """The keys that open the door.

    Args:
        keys: None: it stands open.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def check(self, authorization: str | None) -> None:
        """Look at what a client shows; every key is compared, in a time that tells nothing about any.

        Raises:
            ApiError: It is none of the keys.
        """
        if not self._digests:
            return
        scheme, _, shown = (authorization or "").partition(" ")
        digest = _digest(shown.strip())
        found = [hmac.compare_digest(digest, known) for known in self._digests]
        if scheme.lower() != "bearer" or not any(found):
            message = "Incorrect API key provided." if shown else "No API key provided: send Authorization: Bearer KEY."
            raise ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


class Seats:
    """Places for requests that are being answered."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.taken = 0
        self._settings = settings

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place.

        Raises:
            ApiError: All are taken.
        """
        most = self._settings.max_concurrency
        if self.taken >= most:
            message = f"{most} requests are being answered, which is the limit; try again in a moment."
            wait = {"Retry-After": str(self._settings.retry_after_s)}
            raise ApiError(429, message, kind="rate_limit_error", code="rate_limit_exceeded", headers=wait)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


async def body_of(request: Request, most: int) -> bytes:
    """The body of a request, read no further than the limit.

    Args:
        request: The request.
        most: In bytes.

    Raises:
        ApiError: It is longer.
    """
    parts, size = [], int(request.headers.get("content-length") or 0)
    if size <= most:
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                break
            parts.append(part)
    if size > most:
        raise ApiError(413, f"The request is longer than {most} bytes, which is the limit.", code="request_too_large")
    return b"".join(parts)


class Door:
    """An ASGI layer: asks for a key under /v1, counts and times every request.

    Args:
        app: What is behind it.
        keys: The keys.
        traffic: Where it counts.
    """

    def __init__(self, app: ASGIApp, *, keys: Keys, traffic: Traffic) -> None:
        self._app, self._keys, self._traffic = app, keys, traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or turn it away."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def counting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if scope["path"].startswith("/v1/"):
                self._keys.check(Headers(scope=scope).get("authorization"))
            await self._app(scope, receive, counting)
        except ApiError as error:
            await error.response()(scope, receive, counting)
        finally:
            self._traffic.count(scope, status, time.perf_counter() - began)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
