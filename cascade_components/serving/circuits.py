"""Which models are left out for a while: a circuit breaker for each.

Breaker libraries wrap one call; a router has to know before any call which models it can plan with.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from threading import Lock

from cascade_components.failures import told
from cascade_components.serving.faults import blames_model, retry_after_s
from cascade_components.serving.resilience import Resilience

_TRIAL_S = 60.0
"""After so long without an outcome, a trial is taken for lost, and another call may make one."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Admission:
    """Which of some models a call may ask now."""

    models: frozenset[str]
    out: Mapping[str, str] = field(default_factory=dict)
    """Who is left out, and why."""
    trials: frozenset[str] = frozenset()
    """Who is back only for this call, on trial."""


@dataclass
class _Circuit:
    """A model that has failed lately."""

    since: float
    """When it failed first of those times."""
    failures: int = 0
    """In a row. Not a rate: a model that answers now and then is worth asking, and no window has to fit the traffic."""
    opened: int = 0
    """How often it was opened since it last answered."""
    until: float = 0.0
    """When it may be tried again."""
    why: str = ""
    cool_down: float = 0.0
    trial_until: float = 0.0
    """While a call tries it: when that trial is taken for lost."""

    def open(self, now: float, pause: float | None, settings: Resilience) -> None:
        """Leave the model out: as long as it asks for, else longer than the last time."""
        if pause:
            self.why, seconds = "rate limited", pause
        else:
            self.why, seconds = "failing, out", 2 * self.cool_down or settings.cool_down
            self.cool_down = min(seconds, settings.cool_down_most)
        self.until = now + min(seconds, settings.cool_down_most)
        self.opened += 1
        self.trial_until = 0.0


class Circuits:
    """The circuits of a cascade's models. Thread-safe; kept in memory, one small entry for each failing model.

    Closed, a model is asked. Enough failures in a row open its circuit, or at once a Retry-After: it is left out.
    Once that time is over, one call at a time tries it: an answer closes the circuit, a failure opens it for longer.

    Args:
        clock: Tells seconds.

    Example:
        >>> circuits, settings = Circuits(), Resilience(failures_to_open=1, failing_for=0)
        >>> circuits.failed("large", TimeoutError(), settings, asked_at=circuits.mark("large"))
        >>> circuits.admit(["small", "large"])
        Admission(models=frozenset({'small'}), out={'large': 'failing, out for 10 s more'}, trials=frozenset())
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._circuits: dict[str, _Circuit] = {}

    def admit(self, models: Collection[str], on_trial: Collection[str] = ()) -> Admission:
        """Say which models a call may ask. If all are out, none is left out: a call is always tried.

        Args:
            models: Those that it could ask.
            on_trial: Those that it tries already.
        """
        if not self._circuits:
            return Admission(frozenset(models))
        out: dict[str, str] = {}
        trials = set()
        with self._lock:
            now = self._clock()
            for name in sorted(models):
                circuit = self._circuits.get(name)
                if circuit is None or not circuit.opened or name in on_trial:
                    continue
                if now < circuit.until:
                    out[name] = f"{circuit.why} for {math.ceil(circuit.until - now)} s more"
                elif now < circuit.trial_until:
                    out[name] = "another call tries whether it is back"
                else:
                    circuit.trial_until = now + _TRIAL_S
                    trials.add(name)
        for name in sorted(trials):
            _log.info("%s is tried again by one call.", name)
        if len(out) == len(models):
            return Admission(frozenset(models))
        return Admission(frozenset(models) - set(out), out, frozenset(trials))

    def mark(self, model: str) -> int:
        """Where a model's circuit is in its life; a call keeps this from when it asks, and tells it afterwards."""
        circuit = self._circuits.get(model)
        return circuit.opened if circuit else 0

    def answered(self, model: str, asked_at: int) -> None:
        """The model gave an answer: unless it was asked before the circuit opened, that closes it."""
        if model not in self._circuits:
            return
        with self._lock:
            circuit = self._circuits.get(model)
            if circuit is None or asked_at != circuit.opened:
                return
            del self._circuits[model]
        if circuit.opened:
            _log.warning("%s answers again and is asked as before.", model)

    def failed(
        self, model: str, error: BaseException, settings: Resilience, *, asked_at: int, trial: bool = False
    ) -> None:
        """The model gave no answer.

        Args:
            model: Its name.
            error: Why; an error that is the request's fault does not count.
            settings: When a circuit opens, and for how long.
            asked_at: Its mark when it was asked.
            trial: Whether it was on trial.
        """
        if not settings.breaker or not blames_model(error):
            if trial:
                self.give_up_trial(model)
            return
        pause = retry_after_s(error)
        with self._lock:
            now = self._clock()
            circuit = self._circuits.setdefault(model, _Circuit(now))
            if asked_at != circuit.opened:
                return  # asked before it opened, or since given up
            circuit.failures += 1
            enough = circuit.failures >= settings.failures_to_open and now - circuit.since >= settings.failing_for
            if not (pause or trial or (enough and not circuit.opened)):
                return
            circuit.open(now, pause, settings)
        _log.warning("%s is left out for %.3g s: %s (%s).", model, circuit.until - now, circuit.why, told(error))

    def give_up_trial(self, model: str) -> None:
        """A trial had no outcome: the next call may make one."""
        with self._lock:
            if circuit := self._circuits.get(model):
                circuit.trial_until = 0.0
