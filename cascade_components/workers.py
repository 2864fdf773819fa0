"""Threads that run what may hang: a bounded number of them, and none keeps the process from ending."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

_T = TypeVar("_T")


class Late(Exception):  # noqa: N818 - it says what the result is
    """A task was not done in time.

    Args:
        hopeless: Every thread hangs: the task was not even tried.
    """

    def __init__(self, *, hopeless: bool) -> None:
        super().__init__("every worker hangs" if hopeless else "not done in time")
        self.hopeless = hopeless


class Workers:
    """Runs tasks that must be done in time, each in one of at most `most` daemon threads.

    What Python runs cannot be stopped: a thread whose task is overdue is lost until the task ends. Once all are lost,
    tasks are refused at once, so that neither threads nor tasks pile up. A `ThreadPoolExecutor` would wait for them
    when the process ends.

    Args:
        most: Threads; each is started when it is needed.

    Example:
        >>> Workers(2).run(lambda: 2 + 2, 1.0)
        4
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._threads = 0
        self._open = 0
        self._overdue = 0

    def run(self, task: Callable[[], _T], seconds: float) -> _T:
        """Do a task in another thread, and wait for it.

        Raises:
            Late: It was not done in time.
            Exception: What the task raised.
        """
        future: Future[_T] = Future()
        self._submit(future, task)
        wait([future], seconds)
        if not future.done() and self._given_up(future):
            raise Late(hopeless=False)
        return future.result()

    def _submit(self, future: Future[_T], task: Callable[[], _T]) -> None:
        with self._lock:
            if self._overdue >= self._most:
                raise Late(hopeless=True)
            if self._open >= self._threads and self._threads < self._most:
                Thread(target=self._work, name="cascade-worker", daemon=True).start()
                self._threads += 1
            self._open += 1
        self._tasks.put((future, task))

    def _given_up(self, future: Future[Any]) -> bool:
        """Whether the task is left to itself; no: it was done after all."""
        if future.cancel():  # no thread had got to it
            return True
        with self._lock:
            if future.done():
                return False
            self._overdue += 1
        future.add_done_callback(self._back)
        return True

    def _back(self, _future: Future[Any]) -> None:
        with self._lock:
            self._overdue -= 1

    def _work(self) -> None:
        while True:
            future, task = self._tasks.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(task())
                except BaseException as error:
                    future.set_exception(error)
            with self._lock:
                self._open -= 1
            del future, task  # what an answer was is not kept until the next one comes
