"""The two loops, sync and async, that call the models which a `Call` names. Every entry point runs one of them.

One chain run holds the runs of all the models asked: a chat model's run could not hold others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import Any, cast

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForChainRun,
    CallbackManager,
    CallbackManagerForChainRun,
)
from langchain_core.messages import AIMessageChunk

from langchain_cascade.call import Call, Request


def run(call: Call) -> Generator[AIMessageChunk]:
    """Call models until an answer stands; yield it as it comes where the caller reads along, else at the end."""
    held_by = _chain_run(call.request)
    messages = call.request.messages
    try:
        call.begin(held_by.handlers)
        while not call.trace.done:
            try:
                model, config = call.next_pass(held_by.get_child())
                if call.streaming:
                    with closing(cast("Generator[Any]", model.stream(messages, config))) as chunks:
                        for chunk in chunks:
                            yield from call.receive_chunk(chunk)
                    call.end_stream()
                else:
                    call.receive(model.invoke(messages, config))
            except Exception as error:  # whatever a provider raises: another model may answer
                call.fail(error)
            else:
                call.judge()
        yield from call.last_chunks()
    except GeneratorExit:
        held_by.on_chain_end(call.partial())
        raise
    except BaseException as error:
        held_by.on_chain_error(error)
        raise
    held_by.on_chain_end(call.message)


async def arun(call: Call) -> AsyncGenerator[AIMessageChunk]:
    """`run`, async; decisions embed and score texts, so they are made in a thread."""
    held_by = await _achain_run(call.request)
    messages = call.request.messages
    try:
        await asyncio.to_thread(call.begin, held_by.handlers)
        while not call.trace.done:
            try:
                model, config = call.next_pass(held_by.get_child())
                if call.streaming:
                    async with aclosing(cast("AsyncGenerator[Any]", model.astream(messages, config))) as chunks:
                        async for chunk in chunks:
                            for passing in call.receive_chunk(chunk):
                                yield passing
                    call.end_stream()
                else:
                    call.receive(await model.ainvoke(messages, config))
            except Exception as error:  # whatever a provider raises: another model may answer
                await asyncio.to_thread(call.fail, error)
            else:
                await asyncio.to_thread(call.judge)
        for passing in call.last_chunks():
            yield passing
    except GeneratorExit:
        await held_by.on_chain_end(call.partial())
        raise
    except BaseException as error:
        await held_by.on_chain_error(error)
        raise
    await held_by.on_chain_end(call.message)


def _chain_run(request: Request) -> CallbackManagerForChainRun:
    callbacks = CallbackManager.configure(**_callbacks(request))
    for handler in request.callbacks:
        callbacks.add_handler(handler)
    return callbacks.on_chain_start(None, **_start(request))


async def _achain_run(request: Request) -> AsyncCallbackManagerForChainRun:
    callbacks = AsyncCallbackManager.configure(**_callbacks(request))
    for handler in request.callbacks:
        callbacks.add_handler(handler)
    return await callbacks.on_chain_start(None, **_start(request))


def _callbacks(request: Request) -> dict[str, Any]:
    config = request.config
    return {
        "inheritable_callbacks": config.get("callbacks"),
        "inheritable_tags": config.get("tags"),
        "inheritable_metadata": config.get("metadata"),
        "verbose": request.verbose,
    }


def _start(request: Request) -> dict[str, Any]:
    config = request.config
    name = config.get("run_name") or request.name
    return {"inputs": {"messages": request.messages}, "run_id": config.get("run_id"), "name": name}
