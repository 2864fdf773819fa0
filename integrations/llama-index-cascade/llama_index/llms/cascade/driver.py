"""The frame of a call, sync and async: every entry point runs the core's loop in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing

from llama_index.core.base.llms.types import ChatResponse

from cascade_components.serving.loop import adrive, drive
from llama_index.llms.cascade.call import Call


def run(call: Call) -> Generator[ChatResponse]:
    """Call LLMs until an answer stands; yield it as it comes where the caller reads along, else at the end."""
    try:
        call.begin()
        yield from drive(call)
        call.tell()
        yield from call.last_parts()
    except BaseException:
        call.abandon()
        raise


async def arun(call: Call) -> AsyncGenerator[ChatResponse]:
    """`run`, async."""
    try:
        await call.abegin()
        async with aclosing(adrive(call)) as parts:
            async for part in parts:
                yield part
        call.tell()
        for last in call.last_parts():
            yield last
    except BaseException:
        call.abandon()
        raise
