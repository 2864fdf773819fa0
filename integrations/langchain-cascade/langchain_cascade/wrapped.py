"""Calls of the wrapped models, each in the context of its config.

A Runnable around a model looks into the context for callbacks that its config may lack. Outside of its own context it
would find those of the caller, and a draft's tokens would be heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langchain_core.runnables.retry import RunnableRetry

from langchain_cascade.tools import ChatRunnable


def invoke(model: ChatRunnable, messages: list[BaseMessage], config: RunnableConfig) -> Any:
    """Call a model."""
    with set_config_context(config) as context:
        return context.run(model.invoke, messages, config)


async def ainvoke(model: ChatRunnable, messages: list[BaseMessage], config: RunnableConfig) -> Any:
    """`invoke`, async."""
    with set_config_context(config) as context:
        return await asyncio.create_task(model.ainvoke(messages, config), context=context)


def stream(model: ChatRunnable, messages: list[BaseMessage], config: RunnableConfig) -> Generator[Any]:
    """Call a model, and yield its answer as it comes."""
    with set_config_context(config) as context:
        chunks: Any = context.run(model.stream, messages, config)
        try:
            while (chunk := context.run(next, chunks, None)) is not None:
                yield chunk
        finally:
            context.run(chunks.close)


async def astream(model: ChatRunnable, messages: list[BaseMessage], config: RunnableConfig) -> AsyncGenerator[Any]:
    """`stream`, async."""
    with set_config_context(config) as context:
        chunks: Any = context.run(model.astream, messages, config)
        try:
            while (chunk := await asyncio.create_task(_next(chunks), context=context)) is not None:
                yield chunk
        finally:
            await asyncio.create_task(chunks.aclose(), context=context)


def retries(model: ChatRunnable) -> bool:
    """Whether a model's client, or a layer around it, asks again by itself: by its own word `max_retries`."""
    if isinstance(model, RunnableRetry):
        return model.max_attempt_number > 1
    for layer in ("bound", "default", "runnable"):
        if not hasattr(type(model), "bind_tools") and layer in getattr(type(model), "model_fields", {}):
            return retries(getattr(model, layer))
    return bool(getattr(model, "max_retries", 0) != 0)  # None: the client's default, which is not 0


async def _next(chunks: AsyncIterator[Any]) -> Any:
    return await anext(chunks, None)
