"""Decisions of async callers, off the event loop: they embed and score texts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import ParamSpec, TypeVar

from cascade_components.encoders.cache import CachedEncoder
from cascade_components.forks import after_fork

THREADS = 16
"""Enough for the answers that wait to be judged to fill an encoder's batch; asyncio's own threads are six on two cores.
With more, those that a batch wakes at once would keep the event loop waiting for its turn."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def decide(decision: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Make a decision in a thread; what waits when the caller is cancelled is not made at all.

    Like `asyncio.to_thread`, with threads of its own: slow work of the application's doesn't delay it.

    Example:
        >>> asyncio.run(decide(max, 2, 3))
        3
    """
    made = _in_context(partial(decision, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_threads(), made)


async def decide_on(text: str, policy: object, decision: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Make a decision about a text; if its vector has to be computed first, it is in one batch with others'.

    Args:
        text: What the decision has encoded; blank: nothing.
        policy: Whose encoder does it. One that has none makes every decision by itself.
        decision: As of `decide`.
        args: Its arguments.
        kwargs: Likewise.

    Example:
        >>> asyncio.run(decide_on("What is 2 + 2?", policy, Cascade(policy).start, "What is 2 + 2?"))  # doctest: +SKIP
    """
    encoder = getattr(policy, "encoder", None)
    if not isinstance(encoder, CachedEncoder) or not text.strip() or encoder.knows(text):
        return await decide(decision, *args, **kwargs)
    made = _in_context(partial(decision, *args, **kwargs))
    return await asyncio.wrap_future(encoder.together.submit(text, made))


def _in_context(decision: Callable[[], _T]) -> Callable[[], _T]:
    """A decision for another thread, in the context of its caller."""
    return partial(copy_context().run, _made, decision)


def _made(decision: Callable[[], _T]) -> _T:
    try:
        return decision()
    except StopIteration as error:  # no future takes it: whoever awaits it would wait for ever
        msg = "A decision raised StopIteration."
        raise RuntimeError(msg) from error


_lock = Lock()
_pool: ThreadPoolExecutor | None = None


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(THREADS, "cascade-decision")
        return _pool


def _forget() -> None:
    global _lock, _pool
    _lock, _pool = Lock(), None


after_fork(_forget)
