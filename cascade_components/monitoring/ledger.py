"""Remembers how the last calls' answers came to stand, and adds up the feedback on them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from numbers import Real
from typing import Any

from cascade_components.monitoring.feedback import Cell, Feedback
from cascade_components.monitoring.observation import Kind
from cascade_components.monitoring.priors import Prior
from cascade_components.monitoring.state import check_like


class Ledger:
    """Of the last calls, their ids and kinds; of the feedback, sums for each kind.

    Args:
        priors: What the policy expects of each kind.
        remember: Of how many calls the kind is kept, and of how many that there has been feedback.
    """

    def __init__(self, priors: Mapping[Kind, Prior], remember: int) -> None:
        self.remember = remember
        self._priors = priors
        self._calls: OrderedDict[str, Kind | None] = OrderedDict()
        self._told: OrderedDict[str, None] = OrderedDict()
        self._sums: dict[Kind, list[float]] = {}
        self._unused = 0

    def add(self, call: str, kind: Kind | None) -> None:
        """Remember a call; None: it is of no kind that the policy has expectations of."""
        self._calls[call] = kind
        if len(self._calls) > self.remember:
            self._calls.popitem(last=False)

    def tell(self, call: str, correct: float) -> bool:
        """Count the feedback on a call, once.

        Raises:
            ValueError: The call is not remembered, or `correct` is no number from 0 to 1.
        """
        if not isinstance(correct, Real) or not 0 <= correct <= 1:
            msg = f"correct must be a number from 0 (wrong) to 1 (right), found {correct!r}."
            raise ValueError(msg)
        if call in self._told:
            return False
        if call not in self._calls:
            msg = (
                f"No call {call!r} is known: it was not recorded by this monitor, or is not among the last "
                f"{self.remember:,} (Monitor(remember=...) keeps more)."
            )
            raise ValueError(msg)
        kind = self._calls.pop(call)
        self._told[call] = None
        if len(self._told) > self.remember:
            self._told.popitem(last=False)
        if kind is not None and kind in self._priors:
            sums = self._sums.setdefault(kind, [0, 0.0])
            sums[0] += 1
            sums[1] += float(correct)
        else:
            self._unused += 1
        return True

    def feedback(self, policy: str) -> Feedback:
        """The sums, beside what the policy of this fingerprint expects."""
        cells = [Cell(*kind, *self._priors[kind], int(count), right) for kind, (count, right) in self._sums.items()]
        return Feedback(policy, tuple(sorted(cells, key=lambda cell: cell.kind)), self._unused)

    def state(self) -> dict[str, Any]:
        """All of it as JSON data."""
        return {
            "calls": [[call, kind and list(kind)] for call, kind in self._calls.items()],
            "told": list(self._told),
            "sums": [[*kind, *sums] for kind, sums in self._sums.items()],
            "unused": self._unused,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` told.

        Raises:
            ValueError: It is not the state of such a ledger.
        """
        check_like(state["unused"], 0, "feedback.unused")
        self._calls = OrderedDict((str(call), kind and _kind(*kind)) for call, kind in state["calls"])
        self._told = OrderedDict.fromkeys(map(str, state["told"]))
        self._unused = state["unused"]
        for *kind, count, right in state["sums"]:
            check_like([count, right], [0, 0.0], "feedback.sums")
            if _kind(*kind) not in self._priors or right > count:
                msg = f"the feedback on {kind} is none on this policy"
                raise ValueError(msg)
            self._sums[_kind(*kind)] = [count, right]


def _kind(model: str, cluster: int, stood: str) -> Kind:
    return str(model), int(cluster), str(stood)
