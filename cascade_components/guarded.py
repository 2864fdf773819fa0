"""Asks a quality estimator in such a way that whatever becomes of it costs no answer."""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock
from traceback import extract_tb
from typing import Literal, TypeVar, get_args

from cascade_components.workers import Late, Workers

Fallback = Literal["escalate", "accept"]
"""What becomes of an answer that its estimator could not read."""

WORKERS = 16
"""Threads of a process, at most, in which estimators with a deadline run."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class EstimatorError(Exception):
    """What an estimator says cannot be used; the message tells why, and nothing of what it had read."""


class EstimatorFailures:
    """Counts what went wrong with estimators, and logs the first failure of each kind. Threads may share it.

    Example:
        >>> failures = EstimatorFailures()
        >>> cascade = Cascade(policy, estimator_failures=failures)       # doctest: +SKIP
        >>> failures.counts()
        {}
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = Lock()

    def counts(self) -> dict[tuple[str, str], int]:
        """How often each estimator failed in each way: (name, why) → times."""
        with self._lock:
            return dict(self._counts)

    def add(self, name: str, error: EstimatorError, consequence: str) -> None:
        """Count a failure of the estimator of this name."""
        why = str(error)
        with self._lock:
            self._counts[name, why] += 1
            first = self._counts[name, why] == 1
        if first:
            text = "The quality estimator of %s failed (%s%s): %s. Its next failures of this kind are only counted."
            _log.warning(text, name, why, _place(error.__cause__), consequence)


@cache
def process_failures() -> EstimatorFailures:
    """What counts where a cascade is given no counter: adapters make a cascade for each call, and log once in all."""
    return EstimatorFailures()


@dataclass(frozen=True)
class Guard:
    """How estimators are asked.

    Raises:
        ValueError: The deadline is not a positive number, or there is no such fallback.
    """

    deadline_ms: float | None = None
    """How long an estimator may take; None: as long as it likes, in the caller's own thread."""
    fallback: Fallback = "escalate"
    failures: EstimatorFailures = field(default_factory=process_failures)

    def __post_init__(self) -> None:
        if self.deadline_ms is not None and not (math.isfinite(self.deadline_ms) and self.deadline_ms > 0):
            msg = f"estimator_deadline_ms must be a positive number of milliseconds, or None; found {self.deadline_ms}."
            raise ValueError(msg)
        if self.fallback not in get_args(Fallback):
            msg = f"on_estimator_failure must be one of {', '.join(get_args(Fallback))}; found {self.fallback!r}."
            raise ValueError(msg)

    def ask(self, name: str, read: Callable[[], _T], consequence: str) -> _T:
        """What an estimator says; where that cannot be used, the failure is counted.

        Args:
            name: Of the estimator.
            read: Asks it; may raise `EstimatorError` itself.
            consequence: What a failure leads to, for the log.

        Raises:
            EstimatorError: It raised, took too long, or so many hang that it was not asked.
        """
        try:
            return self._in_time(read)
        except EstimatorError as error:
            failure = error
        except Late as error:
            failure = EstimatorError("too many hang" if error.hopeless else f"slower than {self.deadline_ms:g} ms")
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # a panic of a tokenizer in Rust is no Exception
            failure = EstimatorError(type(error).__name__)
            failure.__cause__ = error
        self.failures.add(name, failure, consequence)
        raise failure

    def _in_time(self, read: Callable[[], _T]) -> _T:
        if self.deadline_ms is None:
            return read()
        context = copy_context()
        return _workers(os.getpid()).run(lambda: context.run(read), self.deadline_ms / 1000)


@cache
def _workers(_process: int) -> Workers:
    """Those of this process: a fork has none of its parent's threads."""
    return Workers(WORKERS)


def _place(error: BaseException | None) -> str:
    """Where an error was raised; its text may quote the answer."""
    frames = extract_tb(error.__traceback__)[-1:] if error else []
    return "".join(f" in {Path(frame.filename).name}, line {frame.lineno}" for frame in frames)
