"""Calls that are cancelled end in traces, too: LangChain leaves the run of a chat model's cancelled `ainvoke` open."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from langchain_core.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManager,
    AsyncCallbackManagerForLLMRun,
    BaseCallbackManager,
)
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

from langchain_cascade import wrapped
from langchain_cascade.tools import ChatRunnable, innermost


async def ended_if_cancelled(model: ChatRunnable, messages: list[BaseMessage], config: RunnableConfig) -> Any:
    """`wrapped.ainvoke`; if it is cancelled, everybody who heard its runs begin hears that they ended."""
    callbacks, own = cast("BaseCallbackManager", config["callbacks"]), getattr(innermost(model), "callbacks", None)
    if not callbacks.handlers and not own:
        return await wrapped.ainvoke(model, messages, config)
    unfinished, recorded = _Unfinished(), callbacks.copy()
    recorded.add_handler(unfinished)
    try:
        return await wrapped.ainvoke(model, messages, patch_config(config, callbacks=recorded))
    except asyncio.CancelledError as error:
        heard_by = AsyncCallbackManager.configure(callbacks, own)
        for run in unfinished.runs.values():
            await run.end(heard_by, error)
        raise


@dataclass(frozen=True)
class _Run:
    """A run of a chat model that has begun."""

    run_id: UUID
    parent_run_id: UUID | None
    tags: list[str]
    metadata: dict[str, Any]

    async def end(self, heard_by: BaseCallbackManager, error: BaseException) -> None:
        """Tell the handlers that it ended with this error."""
        run = AsyncCallbackManagerForLLMRun(
            run_id=self.run_id,
            handlers=heard_by.handlers,
            inheritable_handlers=heard_by.inheritable_handlers,
            parent_run_id=self.parent_run_id,
            tags=self.tags,
            metadata=self.metadata,
        )
        await run.on_llm_error(error, response=LLMResult(generations=[]))


class _Unfinished(AsyncCallbackHandler):
    """Knows the runs of chat models that have begun and not ended."""

    run_inline = True

    def __init__(self) -> None:
        self.runs: dict[UUID, _Run] = {}

    async def on_chat_model_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002
        messages: list[list[BaseMessage]],  # noqa: ARG002
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """One has begun."""
        self.runs[run_id] = _Run(run_id, parent_run_id, tags or [], metadata or {})

    async def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002
        """It has ended."""
        self.runs.pop(run_id, None)

    async def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:  # noqa: ARG002
        """It has ended."""
        self.runs.pop(run_id, None)
