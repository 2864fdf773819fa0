"""Async callers who wait for vectors hold no threads: one thread reads the texts of all, and makes their decisions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from cascade_components.encoders.line import Line
from cascade_components.forks import forget_after_fork


class Together:
    """Decisions about new texts, which wait for each other's vectors.

    A thread that runs while anybody waits takes them batch by batch (see `Line`): it has the texts read in one go, and
    then makes the decisions in turn. What an encoder raises about a batch is left to the decisions: the one whose
    text it is meets it again.

    Args:
        read: Texts → nothing: it remembers their vectors, so that a decision finds them.
    """

    def __init__(self, read: Callable[[list[str]], object]) -> None:
        self._read = read
        self.forget()
        forget_after_fork(self)

    def forget(self) -> None:
        """Nobody waits: as in a forked process, where the thread is not."""
        self._lock = threading.Lock()
        self._line: Line[_Undecided] = Line(self._lock)
        self._thread = ThreadPoolExecutor(1, "cascade-reading")
        self._runs = False

    def submit(self, text: str, decision: Callable[[], Any]) -> Future[Any]:
        """Have the text read and the decision made; what is cancelled before it is decided, is not."""
        one = _Undecided(text, decision)
        with self._lock:
            self._line.join(one)
            if not self._runs:
                self._thread.submit(self._run)
                self._runs = True
        return one.future

    def _run(self) -> None:
        while batch := self._next():
            texts = list(dict.fromkeys(text for one in batch for text in one.texts))
            with suppress(BaseException):  # a panic of a tokenizer in Rust is no Exception
                self._read(texts)
            for one in batch:
                one.decide()
            with self._lock:
                self._line.served(batch)

    def _next(self) -> list[_Undecided]:
        with self._lock:
            while taken := self._line.take():
                if batch := [one for one in taken if not one.future.cancelled()]:
                    return batch
            self._runs = False
            return []


class _Undecided:
    """A text, and what is to be decided about it."""

    def __init__(self, text: str, decision: Callable[[], Any]) -> None:
        self.texts = [text]
        self.future: Future[Any] = Future()
        self._decision = decision

    def decide(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            decided = self._decision()
        except BaseException as error:  # it belongs to whoever awaits the decision
            self.future.set_exception(error)
        else:
            self.future.set_result(decided)
