"""Decisions of async callers, off the event loop: they embed and score texts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import ParamSpec, TypeVar

from cascade_components.forks import after_fork

THREADS = 16
"""Enough for the decisions that wait to fill an encoder's batch; asyncio's own threads are six on two cores. With more,
those that a batch wakes at once would keep the event loop waiting for its turn."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def decide(decision: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Make a decision in a thread; what waits when the caller is cancelled is not made at all.

    Like `asyncio.to_thread`, with threads of its own: slow work of the application's doesn't delay it.

    Example:
        >>> asyncio.run(decide(max, 2, 3))
        3
    """
    made = partial(copy_context().run, decision, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads(), made)


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
