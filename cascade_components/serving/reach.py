"""Which models one call can ask now."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from cascade_components.serving.account import Account
from cascade_components.serving.circuits import Circuits
from cascade_components.trace import Trace


class Reach:
    """The models that can do what a call needs, have not failed it, can be paid, and are not out.

    Args:
        able: Those that can do it.
        account: Says who can be paid.
        circuits: Say who is out; None: nobody is.
    """

    def __init__(self, able: Collection[str], account: Account, circuits: Circuits | None) -> None:
        self._left = self._paid = frozenset(able)
        self._account = account
        self._circuits = circuits
        self._trials: set[str] = set()
        self._tried: set[str] = set()
        self._out: dict[str, str] = {}
        self._told: set[str] = set()

    def first(self) -> frozenset[str]:
        """Whom the call can ask first; at a spending limit, the cheapest if the limit allows it.

        Raises:
            SpendLimitError: Nobody can be paid.
        """
        self._paid = self._account.affordable(self._left)
        return self._admitted(self._paid)

    def now(self) -> frozenset[str]:
        """Whom the call can ask now, if it wants another answer."""
        self._paid = self._account.payable(self._paid)
        return self._admitted(self._paid & self._left)

    def after_failure(self) -> frozenset[str]:
        """Whom the call can ask instead of a model that failed; who cannot be paid any more has an error to say so."""
        return self._admitted(self._paid & self._left)

    def drop(self, model: str) -> None:
        """A model failed this call."""
        self._left -= {model}

    def again(self, model: str) -> None:
        """It is asked again nevertheless."""
        self._left |= {model}

    def try_it(self, model: str) -> bool:
        """The model is asked: whether it is on trial, which is from now on the pass's to end."""
        if model in self._trials:
            self._tried.add(model)
        return model in self._trials

    def ended(self, model: str) -> None:
        """The pass of a model has ended, and with it a trial."""
        self._trials.discard(model)
        self._tried.discard(model)

    def settle(self, trace: Trace) -> Trace:
        """Leave to other calls the trials that this one will not make; tell who is out, each once."""
        idle = self._give_up(() if trace.done else (trace.model, trace.target))
        news = {name: why for name, why in self._out.items() if name not in self._told and name != trace.model}
        trace = replace(trace, available=trace.available - idle)
        if not news:
            return trace
        self._told |= set(news)
        note = "; ".join(f"{name}: {why}" for name, why in sorted(news.items()))
        return replace(trace, reasons=(*trace.reasons[:-1], f"{trace.reasons[-1]} ({note})"))

    def close(self) -> None:
        """The call has ended."""
        self._give_up(())

    def _give_up(self, keeping: Collection[str | None]) -> set[str]:
        """End the trials that nobody has begun."""
        idle = self._trials - self._tried - set(keeping)
        self._trials -= idle
        for name in idle:
            if self._circuits is not None:
                self._circuits.give_up_trial(name)
        return idle

    def _admitted(self, models: frozenset[str]) -> frozenset[str]:
        if self._circuits is None:
            return models
        found = self._circuits.admit(models, self._trials)
        self._trials |= found.trials
        self._out = dict(found.out)
        return found.models
