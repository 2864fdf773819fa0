"""Answers and parts of streams in time, or a `TimeoutError`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Generator
from contextlib import aclosing
from typing import Any

from cascade_components.serving.lanes import Lanes

_END = object()


def paced(parts: Generator[Any], model: str, limit_s: float | None, lanes: Lanes) -> Generator[Any]:
    """The parts of a stream, each in time.

    Raises:
        TimeoutError: One was not.
    """
    if limit_s is None:
        yield from parts
        return
    lane = lanes.open(model)
    try:
        while (part := lane.run(lambda: next(parts, _END), limit_s)) is not _END:
            yield part
    finally:
        lane.close(parts.close)


async def apaced(parts: AsyncGenerator[Any], model: str, limit_s: float | None) -> AsyncGenerator[Any]:
    """`paced`, async."""
    async with aclosing(parts):
        if limit_s is None:
            async for part in parts:
                yield part
            return
        while (part := await in_time(anext(parts, _END), model, limit_s)) is not _END:
            yield part


async def in_time(waiting: Awaitable[Any], model: str, limit_s: float | None) -> Any:
    """What is waited for, or a `TimeoutError` that says whose it is; what took too long is cancelled."""
    try:
        async with asyncio.timeout(limit_s) as limit:
            return await waiting
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise late(model, limit_s) from error


def late(model: str, limit_s: float | None) -> TimeoutError:
    """The error that says who was late."""
    return TimeoutError(f"{model} sent nothing for {limit_s:g} s.")
