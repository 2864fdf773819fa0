"""Watches a policy's calls: do they look like those that it was fitted for, and are its answers right?"""

from __future__ import annotations

import importlib
import logging
import math
import os
import threading
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from cascade_components.monitoring.drift import DriftReport, compare
from cascade_components.monitoring.expectation import expectation
from cascade_components.monitoring.feedback import Feedback
from cascade_components.monitoring.ledger import Ledger
from cascade_components.monitoring.observation import Observation
from cascade_components.monitoring.priors import priors
from cascade_components.monitoring.state import check_like, damaged, read_state, write_state
from cascade_components.monitoring.totals import Totals
from cascade_components.monitoring.window import Window
from cascade_components.policy import CascadePolicy
from cascade_components.trace import Trace

_log = logging.getLogger(__name__)

FEWEST_CALLS = 100
"""Calls in a window, at least: the tests' approximations need them."""


@dataclass(frozen=True)
class Snapshot:
    """What a monitor has counted, at one moment."""

    totals: Totals
    drift: DriftReport


class Monitor:
    """Compares calls with what the policy expects of them. Thread-safe; of a fixed size; keeps no text.

    Calls are looked at in windows. When one is complete, six things are tested against the queries of the fit, replayed
    at the policy's operating point: shares of the clusters, distances to the centroids, P(correct) of first answers,
    escalation rate, cost per query, and the share of calls in which a model failed.

    What an alarm means: *if calls are independent of each other and drawn from what the queries of the fit were drawn
    from, the chance that a complete window raises any alarm is at most `false_alarm_rate`*, over the draw of both. The
    six tests share it (Holm's procedure). Differences below 0.1 (Cohen's w or d, or relative to the cost) raise none.

    Args:
        policy: The policy that serves, at its operating point. Calls of another one are counted, and not tested.
        window: Calls in a window.
        false_alarm_rate: See above.
        remember: Of how many calls the kind is remembered, for feedback on them.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> monitor = Monitor(policy)                             # doctest: +SKIP
        >>> monitor.record(trace, cost=0.0021, latency_ms=840)    # doctest: +SKIP
        >>> print(monitor.drift())                                # doctest: +SKIP
    """

    def __init__(
        self, policy: CascadePolicy, *, window: int = 1000, false_alarm_rate: float = 0.01, remember: int = 10_000
    ) -> None:
        allowed: list[tuple[str, Any, bool, str]] = [
            ("window", window, window >= FEWEST_CALLS, f"at least {FEWEST_CALLS} calls"),
            ("false_alarm_rate", false_alarm_rate, 0 < false_alarm_rate < 1, "between 0 and 1"),
            ("remember", remember, remember >= 0, "at least 0"),
        ]
        for name, value, fine, wanted in allowed:
            if not fine:
                msg = f"Monitor: {name} must be {wanted}, found {value!r}."
                raise ValueError(msg)
        # Now rather than with a user's call.
        importlib.import_module("scipy.special")
        self.window, self.false_alarm_rate = window, false_alarm_rate
        self.policy, self.metric = policy.fingerprint, policy.metric
        self.expected = expectation(policy)
        self._lock = threading.Lock()
        self._totals = Totals.fresh(policy.models, len(self.expected.plans))
        self._current = Window.fresh(self.expected)
        self._last: Window | None = None
        self._windows = 0
        self._report = self._drift()
        self._ledger = Ledger(priors(policy), remember)

    def __repr__(self) -> str:
        return f"Monitor({self.policy}, window={self.window}, false_alarm_rate={self.false_alarm_rate:g})"

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {name: deepcopy(value) for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    # — what is seen —

    def record(
        self, trace: Trace | Mapping[str, Any], *, cost: float | None = None, latency_ms: float | None = None
    ) -> None:
        """Count a call whose answer stands.

        Args:
            trace: Its last trace; or plain data, as `Trace.to_dict` and the adapters' `response_metadata["cascade"]`
                have them. These tell cost and latency as well.
            cost: Of all its passes together, in USD; None: unknown.
            latency_ms: From question to answer; None: unknown.

        Raises:
            ValueError: The trace is not done, or is none.
        """
        seen = Observation.of(trace)
        if isinstance(trace, Mapping):
            cost = trace.get("cost_usd") if cost is None else cost
            passes = trace.get("passes")
            if latency_ms is None and passes:
                latency_ms = sum(one["latency_ms"] for one in passes if not one.get("cancelled"))
        usd, milliseconds = _amount(cost), _amount(latency_ms)
        with self._lock:
            changed = self._count(seen, usd, milliseconds)
        if changed:
            _tell(changed)

    def _count(self, seen: Observation, usd: float | None, latency_ms: float | None) -> DriftReport | None:
        """Count a call; return the report if it closes a window that changes what has drifted."""
        self._totals.add(seen, usd, latency_ms)
        mine = seen.policy == self.policy
        if mine and seen.routed:
            place = -1 if seen.cluster is None else seen.cluster
            self._totals.clusters[place] += 1
            kind = seen.kind(self.expected.plans[place])
            self._current.add(seen, self.expected, {"cost_usd": usd, "e2el_ms": latency_ms}.get(self.metric))
        else:
            kind = None
            self._totals.unrouted += mine
            self._totals.elsewhere += not mine
        self._ledger.add(seen.id, kind)
        if self._current.calls < self.window:
            return None
        before, self._last = self._report.drifted, self._current
        self._windows, self._current = self._windows + 1, Window.fresh(self.expected)
        self._report = self._drift()
        return self._report if self._report.drifted != before else None

    # — what it means —

    def drift(self) -> DriftReport:
        """The last complete window against what the policy expected; `windows` is 0 where none is complete yet."""
        with self._lock:
            return self._report_now()

    def snapshot(self) -> Snapshot:
        """Everything counted so far; a copy."""
        with self._lock:
            return Snapshot(deepcopy(self._totals), self._report_now())

    def _report_now(self) -> DriftReport:
        return replace(self._report, since=self._current.calls)

    def _drift(self) -> DriftReport:
        last = self._last
        metrics = () if last is None else compare(self.expected, last, self.false_alarm_rate)
        off = 0.0 if last is None else last.off_plan / last.calls
        return DriftReport(self.policy, self.window, self._windows, 0, self.false_alarm_rate, off, metrics)

    # — feedback —

    def record_feedback(self, trace_id: str, correct: float) -> bool:
        """Say whether an answer was right. Of one answer it counts once.

        Whom feedback comes from matters: if people speak up when they are angry, models look worse than they are. Let
        it come from a sample that was drawn without looking at the answers.

        Args:
            trace_id: `trace.id`, among the last `remember` calls.
            correct: 0…1.

        Returns:
            Whether it was counted: False where there has been feedback on this answer before.

        Raises:
            ValueError: The call is unknown or too long ago, or `correct` is no number from 0 to 1.
        """
        with self._lock:
            return self._ledger.tell(trace_id, correct)

    @property
    def feedback(self) -> Feedback:
        """The feedback so far, for `CascadePolicy.refresh`."""
        with self._lock:
            return self._ledger.feedback(self.policy)

    # — on disk —

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything counted so far as one JSON file; a file that lies there is replaced.

        Raises:
            OSError: It could not be written; what lay there still does.
        """
        with self._lock:
            state = self._state()
        write_state(path, state)

    @classmethod
    def load(cls, path: str | os.PathLike[str], policy: CascadePolicy) -> Self:
        """The monitor that was saved, to go on where it was.

        Args:
            path: What `save` wrote.
            policy: The policy that it watched.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is damaged, or the state of another policy's monitor.
        """
        state = read_state(path, policy.fingerprint)
        try:
            monitor = cls(policy, **{name: state[name] for name in ("window", "false_alarm_rate", "remember")})
            monitor._restore(state)
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, str(error)) from None
        return monitor

    def _state(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "window": self.window,
            "false_alarm_rate": self.false_alarm_rate,
            "remember": self._ledger.remember,
            "windows": self._windows,
            "totals": asdict(self._totals),
            "current": asdict(self._current),
            "last": None if self._last is None else asdict(self._last),
            "feedback": self._ledger.state(),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        last, current = state["last"], asdict(self._current)
        check_like(state["windows"], 0, "windows")
        check_like(state["totals"], asdict(self._totals), "totals")
        check_like(state["current"], current, "current")
        if last is not None:
            check_like(last, current, "last")
        self._windows = state["windows"]
        self._totals, self._current = Totals.from_dict(state["totals"]), Window.from_dict(state["current"])
        self._last = None if last is None else Window.from_dict(last)
        self._ledger.restore(state["feedback"])
        self._report = self._drift()


def _amount(value: float | None) -> float | None:
    """A cost or a time; nonsense is not known."""
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _tell(report: DriftReport) -> None:
    if report.drifted:
        _log.warning("%s", report)
    else:
        _log.info("Policy %s: the drift is over", report.policy)
