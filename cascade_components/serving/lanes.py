"""Threads for calls that may have to be given up: what Python runs cannot be stopped, only left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

MOST_LEFT = 32
"""Calls of one model that were given up and still run, at most, before it is asked again."""

_T = TypeVar("_T")


class Lanes:
    """Starts lanes, and counts for each model those that were left behind.

    As many run as callers wait, and few more: a model with too many left behind is not asked again before one of them
    ends, which it does when the client's own time-out does.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._left: Counter[str] = Counter()

    def open(self, model: str) -> Lane:
        """A lane for one call of a model.

        Raises:
            TimeoutError: Too many of the model's calls hang.
        """
        with self._lock:
            if self._left[model] >= MOST_LEFT:
                msg = f"{MOST_LEFT} calls of {model} that were given up still run. Give its client a time-out."
                raise TimeoutError(msg)
        return Lane(model, self)

    def count_left(self, model: str, future: Future[Any]) -> None:
        """A call of a model was left behind; it counts until it ends."""
        with self._lock:
            self._left[model] += 1
        future.add_done_callback(lambda _: self._back(model))

    def _back(self, model: str) -> None:
        with self._lock:
            self._left[model] -= 1


class Lane:
    """A daemon thread that does one task after another, in the context of who opened it."""

    def __init__(self, model: str, lanes: Lanes) -> None:
        self._model = model
        self._lanes = lanes
        self._context = copy_context()
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._last: Future[Any] | None = None
        Thread(target=self._work, name=f"cascade-lane-{model}", daemon=True).start()

    def submit(self, task: Callable[[], _T]) -> Future[_T]:
        """Do a task after those before it."""
        future: Future[_T] = Future()
        self._last = future
        self._tasks.put((future, task))
        return future

    def run(self, task: Callable[[], _T], seconds: float) -> _T:
        """Do a task, and wait for it.

        Raises:
            TimeoutError: It was not done in time.
        """
        future = self.submit(task)
        if not wait([future], seconds).done:
            msg = f"{self._model} sent nothing for {seconds:g} s."
            raise TimeoutError(msg)
        return future.result()

    def close(self, last: Callable[[], Any] | None = None) -> None:
        """End the lane, after a last task; where a task hangs, leave both behind."""
        before = self._last
        hangs = before is not None and not before.done()
        ended = self.submit(last or (lambda: None))
        self._tasks.put(None)
        if hangs:
            self._lanes.count_left(self._model, ended)
        elif last is not None:
            wait([ended])

    def _work(self) -> None:
        while (given := self._tasks.get()) is not None:
            future, task = given
            try:
                future.set_result(self._context.run(task))
            except BaseException as error:  # it is raised where the result is awaited
                future.set_exception(error)
            del given, future, task  # an answer that nobody waits for is dropped
