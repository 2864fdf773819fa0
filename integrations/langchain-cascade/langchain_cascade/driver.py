"""The run that holds a call, sync and async: every entry point opens one of them, and runs the core's loop in it.

One chain run holds the runs of all the models asked: a chat model's run could not hold others.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForChainRun,
    CallbackManager,
    CallbackManagerForChainRun,
)
from langchain_core.messages import AIMessageChunk

from cascade_components.serving.loop import adrive, drive
from langchain_cascade.call import Call


def run(call: Call) -> Generator[AIMessageChunk]:
    """Call models until an answer stands; yield it as it comes where the caller reads along, else at the end."""
    held_by = _chain_run(call)
    try:
        if call.cache is not None:
            call.recall(call.cache.lookup(*call.cache_key))
        if not call.recalled:
            call.begin(held_by)
            yield from drive(call)
        if call.cache is not None and not call.recalled:
            call.cache.update(*call.cache_key, call.generations)
        yield from call.last_chunks()
    except GeneratorExit:
        call.abandon()
        held_by.on_chain_end(call.partial())
        raise
    except BaseException as error:
        call.abandon()
        held_by.on_chain_error(error)
        raise
    held_by.on_chain_end(call.message)


async def arun(call: Call) -> AsyncGenerator[AIMessageChunk]:
    """`run`, async."""
    held_by = await _achain_run(call)
    try:
        if call.cache is not None:
            call.recall(await call.cache.alookup(*call.cache_key))
        if not call.recalled:
            await call.abegin(held_by)
            async with aclosing(adrive(call)) as chunks:
                async for chunk in chunks:
                    yield chunk
        if call.cache is not None and not call.recalled:
            await call.cache.aupdate(*call.cache_key, call.generations)
        for passing in call.last_chunks():
            yield passing
    except GeneratorExit:
        call.abandon()
        await held_by.on_chain_end(call.partial())
        raise
    except BaseException as error:
        call.abandon()
        await held_by.on_chain_error(error)
        raise
    await held_by.on_chain_end(call.message)


def _chain_run(call: Call) -> CallbackManagerForChainRun:
    callbacks = CallbackManager.configure(**_callbacks(call))
    for handler in call.host.own_handlers:
        callbacks.add_handler(handler)
    return callbacks.on_chain_start(None, **_start(call))


async def _achain_run(call: Call) -> AsyncCallbackManagerForChainRun:
    callbacks = AsyncCallbackManager.configure(**_callbacks(call))
    for handler in call.host.own_handlers:
        callbacks.add_handler(handler)
    return await callbacks.on_chain_start(None, **_start(call))


def _callbacks(call: Call) -> dict[str, Any]:
    config = call.request.config
    return {
        "inheritable_callbacks": config.get("callbacks"),
        "inheritable_tags": config.get("tags"),
        "inheritable_metadata": config.get("metadata"),
        "verbose": call.host.verbose,
    }


def _start(call: Call) -> dict[str, Any]:
    config = call.request.config
    name = config.get("run_name") or call.host.get_name()
    return {"inputs": {"messages": call.request.messages}, "run_id": config.get("run_id"), "name": name}
