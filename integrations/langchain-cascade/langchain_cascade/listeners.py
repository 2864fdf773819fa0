"""Who hears the tokens of a wrapped model: a draft's tokens reach nobody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, cast

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, BaseCallbackManager
from langchain_core.tracers import BaseTracer

DRAFT_TAGS = ("nostream", "cascade:draft")
"""`nostream` is LangGraph's: its token streams leave such a run out."""

SHADOW_TAGS = ("nostream", "cascade:shadow")

_Manager = TypeVar("_Manager", bound=BaseCallbackManager)


def streams_tokens(handlers: Iterable[BaseCallbackHandler]) -> bool:
    """Whether somebody reads tokens as they come, so that an invoked model would stream them."""
    return any(_streams(handler) for handler in handlers)


def muted(callbacks: _Manager, *, streamed: bool) -> _Manager:
    """The callbacks of a draft: its start and its end are heard, its tokens are not.

    Args:
        callbacks: Those of the call.
        streamed: The draft is asked for as a stream, so that every callback would hear its tokens; tracers may.
    """
    # One object for each handler, for langchain-core tells by identity whether a manager has it already.
    every = (*callbacks.handlers, *callbacks.inheritable_handlers)
    mute = {id(one): _mute(one) if _streams(one) or (streamed and _hears(one)) else one for one in every}
    callbacks.handlers = [mute[id(handler)] for handler in callbacks.handlers]
    callbacks.inheritable_handlers = [mute[id(handler)] for handler in callbacks.inheritable_handlers]
    return callbacks


def _streams(handler: BaseCallbackHandler) -> bool:
    # What makes langchain-core stream inside `invoke`: the handler of `astream_events`, and LangGraph's.
    return hasattr(handler, "tap_output_aiter")


def _hears(handler: BaseCallbackHandler) -> bool:
    plain = (BaseCallbackHandler.on_llm_new_token, AsyncCallbackHandler.on_llm_new_token)
    return type(handler).on_llm_new_token not in plain and not isinstance(handler, BaseTracer)


def _mute(handler: BaseCallbackHandler) -> BaseCallbackHandler:
    return cast("BaseCallbackHandler", _WithoutTokens(handler))


class _WithoutTokens:
    """A handler that hears no tokens; a streaming one no longer looks like one."""

    def __init__(self, handler: BaseCallbackHandler) -> None:
        self._handler = handler

    def __getattr__(self, name: str) -> Any:
        if name.startswith("tap_output"):
            raise AttributeError(name)
        return getattr(self._handler, name)

    def on_llm_new_token(self, *args: Any, **kwargs: Any) -> None:
        """Heard by nobody."""

    def on_stream_event(self, *args: Any, **kwargs: Any) -> None:
        """Heard by nobody."""
