"""Asks the target about a few answers that a gate had accepted, off the user's path: labels for what nobody checked."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Self

from cascade_components.trace import Trace

_log = logging.getLogger(__name__)

_Outcome = Literal["delivered", "failed", "dropped"]


@dataclass(frozen=True)
class ShadowAnswer:
    """Two answers to one query, to be compared or labelled."""

    trace_id: str
    """Of the call, for `Monitor.record_feedback`."""
    query: str = field(repr=False)
    model: str
    answer: str = field(repr=False)
    """What the user got."""
    target: str
    target_answer: str = field(repr=False)
    """What an escalation would have brought."""


@dataclass(frozen=True)
class ShadowCounts:
    """What became of the answers chosen."""

    delivered: int = 0
    """The sink took them."""
    failed: int = 0
    """The target or the sink raised."""
    dropped: int = 0
    """Too many were in flight, or the shadow was closed."""


class Shadow:
    """Chooses a share of the accepted gated answers, asks the target as well, and hands both answers to a sink.

    Nothing of this reaches the user: it happens in threads (`submit`) or tasks (`start`) of its own, a bounded number
    at a time, and what goes wrong is counted, and logged once of each kind. The target's answers cost what they cost.

    Args:
        share: Of the accepted gated answers, 0…1.
        sink: Takes each `ShadowAnswer`: a function, which several threads may call at a time; with `start`, a
            coroutine function as well. It gets the texts: keep them as carefully as prompts.
        seed: Which calls are chosen depends on this and the trace's id alone; None: on something drawn now.
        most: Answers in flight, at most; those that come then are dropped.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> shadow = Shadow(0.01, sink=queue.put)                                # doctest: +SKIP
        >>> target = shadow.target(before=trace, after=judged)                   # doctest: +SKIP
        >>> if target is not None:                                               # doctest: +SKIP
        ...     shadow.submit(judged, "the answer", target, lambda: ask(target))
    """

    def __init__(
        self, share: float = 0.01, *, sink: Callable[[ShadowAnswer], Any], seed: int | str | None = None, most: int = 4
    ) -> None:
        if not 0 <= share <= 1 or most < 1:
            msg = f"Shadow: share must be from 0 to 1 and most at least 1, found {share} and {most}."
            raise ValueError(msg)
        self.share, self.sink, self.most = share, sink, most
        self._salt = secrets.token_hex(8) if seed is None else str(seed)
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._tasks: set[asyncio.Task[_Outcome]] = set()
        self._counts: dict[_Outcome, int] = {"delivered": 0, "failed": 0, "dropped": 0}
        self._closed = self._given_up = False
        self._logged: set[str] = set()

    def __repr__(self) -> str:
        return f"Shadow({self.share:g}, most={self.most})"

    def __reduce__(self) -> tuple[Callable[[], Shadow], tuple[()]]:
        # A copy, or what is unpickled elsewhere, chooses the same calls, and has nothing in flight.
        return partial(Shadow, self.share, sink=self.sink, seed=self._salt, most=self.most), ()

    # — which answers —

    def chooses(self, trace_id: str) -> bool:
        """Whether the call with this id is among the chosen ones: for one seed always the same."""
        digest = hashlib.sha256(f"{self._salt}:{trace_id}".encode()).digest()
        return int.from_bytes(digest[:8]) < self.share * 2**64

    def target(self, before: Trace, after: Trace) -> str | None:
        """Whom to ask as well; None: nobody, the answer was not accepted at a gate, or is not among the chosen ones.

        Args:
            before: The trace before the answer was judged.
            after: The one that `Cascade.judge` made of it.
        """
        if not (before.target in after.available and after.done and after.model == before.model):
            return None
        return before.target if after.scores[-1] is not None and self.chooses(after.id) else None

    # — asking —

    def submit(self, trace: Trace, answer: str, target: str, ask: Callable[[], str]) -> bool:
        """Ask the target in a thread; return at once.

        Args:
            trace: Of the call, its answer accepted.
            answer: The accepted answer's text.
            target: The model that is asked as well.
            ask: Asks it, and returns its answer's text.

        Returns:
            Whether it will be asked; False: it was dropped.
        """
        # A daemon: a target that hangs must not keep the process from ending.
        thread = threading.Thread(
            target=self._run, args=(trace, answer, target, ask), name="cascade-shadow", daemon=True
        )
        with self._lock:
            if not self._free():
                return False
            self._threads.add(thread)
        thread.start()
        return True

    def start(self, trace: Trace, answer: str, target: str, ask: Callable[[], Awaitable[str]]) -> bool:
        """Ask the target in a task of the running event loop; return at once.

        Args:
            trace: As in `submit`.
            answer: As in `submit`.
            target: As in `submit`.
            ask: A coroutine function that asks it, and returns its answer's text.

        Returns:
            Whether it will be asked; False: it was dropped.
        """
        with self._lock:
            if not self._free():
                return False
            # In a context of its own: what frameworks keep there (callbacks, runs) is the user's call's.
            asking = self._arun(trace, answer, target, ask)
            task = asyncio.get_running_loop().create_task(asking, name="cascade-shadow", context=Context())
            self._tasks.add(task)  # the loop itself would forget it
        task.add_done_callback(self._done)
        return True

    def _free(self) -> bool:
        """Whether there is room for one more; if not, it is dropped."""
        free = not self._closed and len(self._threads) + len(self._tasks) < self.most
        self._counts["dropped"] += not free
        return free

    def _run(self, trace: Trace, answer: str, target: str, ask: Callable[[], str]) -> None:
        outcome: _Outcome = "dropped"
        try:
            pair = _pair(trace, answer, target, ask())
            if not self._given_up:
                self.sink(pair)
                outcome = "delivered"
        except Exception as error:  # nothing of this may reach a user
            outcome = self._failed(error)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
                self._counts[outcome] += 1

    async def _arun(self, trace: Trace, answer: str, target: str, ask: Callable[[], Awaitable[str]]) -> _Outcome:
        try:
            pair = _pair(trace, answer, target, await ask())
            # A function may wait for a disk, which an event loop must not.
            found = await asyncio.to_thread(self.sink, pair)
            if inspect.isawaitable(found):
                await found
        except Exception as error:  # nothing of this may reach a user
            return self._failed(error)
        return "delivered"

    def _done(self, task: asyncio.Task[_Outcome]) -> None:
        with self._lock:
            self._tasks.discard(task)
            self._counts["dropped" if task.cancelled() else task.result()] += 1

    def _failed(self, error: Exception) -> _Outcome:
        kind = type(error).__name__
        with self._lock:
            first = kind not in self._logged
            self._logged.add(kind)
        if first:
            _log.warning("Shadow sampling failed (%s); further failures of this kind are only counted.", kind)
        return "failed"

    # — the end —

    @property
    def counts(self) -> ShadowCounts:
        """What became of the answers chosen so far."""
        with self._lock:
            return ShadowCounts(**self._counts)

    def close(self, timeout: float | None = None) -> None:
        """Take no more answers, and wait for those in threads; what comes later than that is dropped.

        Args:
            timeout: Seconds to wait at most; None: as long as it takes.
        """
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        end = None if timeout is None else time.monotonic() + timeout
        for thread in threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
        self._given_up = True

    async def aclose(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - nothing is raised when it is over
        """`close`, and the same for the tasks of the running event loop.

        Args:
            timeout: Seconds to wait at most, each; None: as long as it takes.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            self._closed = True
            tasks = {task for task in self._tasks if task.get_loop() is loop}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _pair(trace: Trace, answer: str, target: str, target_answer: str) -> ShadowAnswer:
    return ShadowAnswer(trace.id, trace.query, trace.model, answer, target, target_answer)
