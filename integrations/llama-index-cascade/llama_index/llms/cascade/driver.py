"""The two loops, sync and async, that call the LLMs which a `Call` names. Every entry point runs one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator

from llama_index.core.base.llms.types import ChatResponse

from llama_index.llms.cascade.call import Call


def run(call: Call) -> Generator[ChatResponse]:
    """Call LLMs until an answer stands; yield it as it comes where the caller reads along, else at the end."""
    try:
        call.begin()
        while not call.done:
            try:
                if call.served.streaming:
                    with call.span():
                        parts = call.next_pass("stream_chat")()
                    try:
                        for part in parts:
                            if call.take(part):
                                call.consider_release()
                            yield from call.ready()
                    finally:
                        parts.close()
                    call.end_stream()
                else:
                    with call.span():
                        response = call.next_pass("chat")()
                    call.receive(response)
            except Exception as error:  # whatever a provider raises: another LLM may answer
                call.served.fail(error)
            else:
                call.judge()
        call.tell()
        yield from call.last_parts()
    except BaseException:
        call.abandon()
        raise


async def arun(call: Call) -> AsyncGenerator[ChatResponse]:
    """`run`, async; decisions embed and score texts, so they are made in a thread."""
    try:
        await asyncio.to_thread(call.begin)
        while not call.done:
            try:
                if call.served.streaming:
                    with call.span():
                        parts = await call.next_pass("astream_chat")()
                    try:
                        async for part in parts:
                            if call.take(part):
                                await asyncio.to_thread(call.consider_release)
                            for ready in call.ready():
                                yield ready
                    finally:
                        await parts.aclose()
                    call.end_stream()
                else:
                    with call.span():
                        response = await call.next_pass("achat")()
                    call.receive(response)
            except Exception as error:  # whatever a provider raises: another LLM may answer
                await asyncio.to_thread(call.served.fail, error)
            else:
                await asyncio.to_thread(call.judge)
        call.tell()
        for last in call.last_parts():
            yield last
    except BaseException:
        call.abandon()
        raise
