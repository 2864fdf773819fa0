"""What a cascade does about models that are slow, fail, or are out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from cascade_components.guarded import Fallback, Guard

PerModel = float | Mapping[str, float] | None
"""One number for every model, or each model's own; None, or a model that is not named: none."""

Retry = Literal["last", "each"]
BrokenStream = Literal["error", "restart"]


@dataclass(frozen=True)
class Resilience:
    """How a cascade holds under fault; `docs/resilience.md` says what happens on which. Plain data, the same for all.

    Circuit breakers are on, mildly; time-outs, retries of the cascade's own and hedging are off, for the wrapped
    models' clients have time-outs and retries themselves.

    Args:
        timeout: Seconds that a model may take for a whole answer; for a stream, until its first chunk and between
            chunks. One number, or each model's.
        retries: How often a call asks one model again after a fault that may pass (time-out, connection, HTTP 408,
            409, 429 and 5xx). A model whose own client retries is never retried by the cascade as well.
        retry: When: "last" only where nobody else is left to ask, for the next model answers sooner than one that
            just failed; "each" before the next model is asked.
        retry_wait: Seconds, at most, before the first retry; twice as long before each further one. The wait is drawn
            evenly from 0 on, unless the model's Retry-After asks for more.
        retry_wait_most: The longest wait, in seconds. A Retry-After beyond it is not waited for: no retry.
        breaker: Whether a model that fails again and again, or asks for a pause, is left out for a while.
        failures_to_open: Failures in a row after which it is,
        failing_for: if they last at least this many seconds: not for one hiccup that many calls at once ran into.
        cool_down: Seconds until it is tried again; twice as long after each trial that fails.
        cool_down_most: The longest such time, in seconds; a longer Retry-After is tried then, too.
        hedge: Ask a second model as well once the first takes longer than its 95th percentile; before 20 answers of it
            were timed, longer than this many seconds. One number, or each model's; a model without one is not hedged.
        broken_stream: What a stream does that dies after something of it was seen: end with the "error", or "restart"
            with the next model's whole answer, after a chunk that says so.
        estimator_deadline_ms: As in `Cascade`.
        on_estimator_failure: As in `Cascade`.

    Raises:
        ValueError: A setting is out of its range.

    Example:
        >>> settings = Resilience(timeout={"small": 10, "large": 60}, hedge=5)
        >>> settings.timeout_of("small"), settings.hedge_of("large"), settings.timeout_of("other")
        (10, 5, None)
    """

    timeout: PerModel = None
    retries: int = 0
    retry: Retry = "last"
    retry_wait: float = 0.5
    retry_wait_most: float = 8.0
    breaker: bool = True
    failures_to_open: int = 5
    failing_for: float = 5.0
    cool_down: float = 10.0
    cool_down_most: float = 300.0
    hedge: PerModel = None
    broken_stream: BrokenStream = "error"
    estimator_deadline_ms: float | None = None
    on_estimator_failure: Fallback = "escalate"

    def __post_init__(self) -> None:
        for name in ("timeout", "hedge"):
            for where, seconds in _each(name, getattr(self, name)):
                _check(where, seconds, seconds > 0, "a positive number of seconds")
        for name in ("retry_wait", "retry_wait_most", "cool_down", "cool_down_most"):
            _check(name, getattr(self, name), getattr(self, name) > 0, "a positive number of seconds")
        _check("cool_down_most", self.cool_down_most, self.cool_down_most >= self.cool_down, "at least cool_down")
        _check("failing_for", self.failing_for, self.failing_for >= 0, "a number of seconds, 0 or more")
        _check("retries", self.retries, self.retries >= 0, "a number of times, 0 or more")
        _check("failures_to_open", self.failures_to_open, self.failures_to_open >= 1, "a number of times, 1 or more")
        for name, allowed in (("retry", Retry), ("broken_stream", BrokenStream)):
            if (given := getattr(self, name)) not in get_args(allowed):
                msg = f"Resilience: {name} must be one of {', '.join(get_args(allowed))}; found {given!r}."
                raise ValueError(msg)
        Guard(self.estimator_deadline_ms, self.on_estimator_failure)  # has its own errors

    def timeout_of(self, model: str) -> float | None:
        """A model's time-out in seconds; None: none."""
        return _of(self.timeout, model)

    def hedge_of(self, model: str) -> float | None:
        """Seconds after which a model is hedged while its own times are not known; None: never."""
        return _of(self.hedge, model)

    def check_models(self, models: Collection[str]) -> None:
        """Refuse settings for a model that is not there.

        Raises:
            ValueError: One is named that is not among `models`.
        """
        for name in ("timeout", "hedge"):
            given = getattr(self, name)
            if isinstance(given, Mapping) and (unknown := sorted(set(given) - set(models))):
                msg = f"Resilience: {name} names {', '.join(unknown)}; the policy knows {', '.join(models)}."
                raise ValueError(msg)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON data; `Resilience(**data)` has them again."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in found.items()}


def _of(given: PerModel, model: str) -> float | None:
    return given.get(model) if isinstance(given, Mapping) else given


def _each(name: str, given: PerModel) -> list[tuple[str, float]]:
    if isinstance(given, Mapping):
        return [(f"{name} of {model}", seconds) for model, seconds in given.items()]
    return [] if given is None else [(name, given)]


def _check(name: str, value: float, fine: bool, wanted: str) -> None:  # noqa: FBT001
    if not (math.isfinite(value) and fine):
        msg = f"Resilience: {name} must be {wanted}; found {value}."
        raise ValueError(msg)
