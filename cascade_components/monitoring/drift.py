"""Is what was seen drawn from what the policy was fitted on? Two-sample tests: the fit has seen a sample as well."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from cascade_components.arrays import Floats
from cascade_components.monitoring.expectation import Expectation, Sample
from cascade_components.monitoring.window import Window

LEAST_EFFECT = 0.1
"""Differences below it are not worth an alarm, however certain: in Cohen's w or d, or relative to the cost."""
TOLERATED_FAILURES = 0.01
"""Share of calls in which a model may fail."""
FEWEST = 30
"""Values below which nothing is tested."""
MOST_RELEASED = 0.02
"""Share of answers released early up to which the scores of the others are still like those of the fit."""
_SPARSE = 5.0


@dataclass(frozen=True)
class Metric:
    """One thing that is watched."""

    name: str
    expected: float | None
    """What the policy expected; None: it does not know."""
    seen: float | None
    detail: str
    """What the two numbers are."""
    p_value: float | None = None
    """Chance of a difference this large without drift; None: not tested."""
    effect: float | None = None
    """How large the difference is: Cohen's w (shares, distances, escalation), Cohen's d (scores), the change relative
    to what was expected (cost), or the share itself (failures)."""
    drifted: bool = False

    def __str__(self) -> str:
        expected, seen = ("unknown" if value is None else f"{value:.4g}" for value in (self.expected, self.seen))
        tested = "not tested" if self.p_value is None else f"p {self.p_value:.2g}, effect {self.effect:.2g}"
        verdict = "DRIFTED" if self.drifted else "as expected" if self.p_value is not None else ""
        return f"{self.name:<10}  {verdict:<11}  {self.detail}: expected {expected}, seen {seen} ({tested})"


@dataclass(frozen=True)
class DriftReport:
    """The last complete window against what the policy expected."""

    policy: str
    """Fingerprint of the policy."""
    window: int
    """Calls in a window."""
    windows: int
    """Windows completed so far; 0: nothing could be tested yet."""
    since: int
    """Calls since the last one."""
    false_alarm_rate: float
    """Chance of any alarm from a complete window, if nothing has drifted."""
    off_plan: float
    """Share of the window's calls that were not begun as the plan says; scores, escalation and cost leave them out."""
    metrics: tuple[Metric, ...]

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of what has drifted."""
        return tuple(metric.name for metric in self.metrics if metric.drifted)

    def __str__(self) -> str:
        if not self.windows:
            return f"Policy {self.policy}: no window is complete yet ({self.since} of {self.window} calls)"
        verdict = f"drift in {', '.join(self.drifted)}" if self.drifted else "as expected"
        head = f"Policy {self.policy}: {verdict} (window {self.windows} of {self.window} calls, {self.off_plan:.0%} of "
        head += f"them off the plan; false alarms in at most {self.false_alarm_rate:.2%} of windows)"
        return "\n".join([head, *map(str, self.metrics)])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**asdict(self), "metrics": [asdict(one) for one in self.metrics], "drifted": list(self.drifted)}


def compare(expected: Expectation, seen: Window, false_alarm_rate: float) -> tuple[Metric, ...]:
    """Test every metric, and say which have drifted.

    Without drift, and with calls that are independent of each other, the chance that any of them is called drifted is
    at most `false_alarm_rate`: Holm's procedure over all that are tested. What is certain but small is left alone.
    """
    metrics = list(_metrics(expected, seen))
    rejected = holm([metric.p_value for metric in metrics], false_alarm_rate)
    return tuple(
        replace(metric, drifted=no_chance and _matters(metric))
        for metric, no_chance in zip(metrics, rejected, strict=True)
    )


def _matters(metric: Metric) -> bool:
    # Of failures, more than is tolerated is what is tested.
    return metric.name == "failures" or abs(metric.effect or 0.0) >= LEAST_EFFECT


def _metrics(expected: Expectation, seen: Window) -> Iterator[Metric]:
    yield _clusters(expected, seen)
    yield _distances(expected, seen)
    yield _scores(expected, seen)
    yield _escalation(expected, seen)
    yield _cost(expected, seen)
    yield _failures(seen)


def _clusters(expected: Expectation, seen: Window) -> Metric:
    found = np.array(seen.clusters, float)
    before, now = expected.clusters / expected.clusters.sum(), found / max(1, seen.calls)
    most = int(np.abs(now - before).argmax())
    name = "share of queries out of the map" if most == len(now) - 1 else f"share of cluster {most}, which moved most"
    return Metric("clusters", float(before[most]), float(now[most]), name, *homogeneity([(expected.clusters, found)]))


def _distances(expected: Expectation, seen: Window) -> Metric:
    mean, name = seen.distance_sum / max(1, seen.calls), "mean distance to the nearest centroid"
    if expected.distances is None:
        return Metric("distances", None, mean, name)
    tested = homogeneity([(expected.distances.counts, np.array(seen.distances, float))])
    return Metric("distances", expected.distances.mean, mean, name, *tested)


def _scores(expected: Expectation, seen: Window) -> Metric:
    # Each model's own scores are compared: which models are asked is told by the clusters.
    pairs = [(expected.scores[model], sums.sample) for model, sums in seen.scores.items() if sums.count]
    judged, name = sum(now.count for _, now in pairs), "mean P(correct) of first answers"
    if not judged:
        return Metric("scores", None, None, name)
    # Their means are: one by one they differ a little, for those of the fit are by estimators that knew fewer answers.
    before = sum(now.count * then.mean for then, now in pairs) / judged
    mean = sum(now.count * now.mean for _, now in pairs) / judged
    if judged < FEWEST or seen.released > MOST_RELEASED * judged:
        return Metric("scores", before, mean, name)
    spread = math.sqrt(sum(now.count * then.variance for then, now in pairs) / judged)
    return Metric("scores", before, mean, name, welch(pairs), (mean - before) / spread if spread else 0.0)


def _escalation(expected: Expectation, seen: Window) -> Metric:
    decided, name = seen.calls - seen.off_plan, "share of first answers judged weak"
    now = seen.escalated / decided if decided else None
    if expected.escalation is None or decided < FEWEST:
        return Metric("escalation", None, now, name)
    rate, count = expected.escalation.mean, expected.escalation.count
    before = np.array([rate * count, (1 - rate) * count])
    tested = homogeneity([(before, np.array([seen.escalated, decided - seen.escalated], float))])
    return Metric("escalation", rate, now, name, *tested)


def _cost(expected: Expectation, seen: Window) -> Metric:
    name, before = "mean cost per query", expected.cost
    now = seen.cost.sample if seen.cost.count else None
    if before is None or now is None or now.count < FEWEST or before.mean <= 0:
        return Metric("cost", None if before is None else before.mean, None if now is None else now.mean, name)
    return Metric("cost", before.mean, now.mean, name, welch([(before, now)]), now.mean / before.mean - 1)


def _failures(seen: Window) -> Metric:
    from scipy.special import bdtrc

    share, name = seen.failed / max(1, seen.calls), f"share of calls with a failure, {TOLERATED_FAILURES:.0%} tolerated"
    # One sample: what is tolerated is a number, not a sample of anything.
    p_value = float(bdtrc(seen.failed - 1, seen.calls, TOLERATED_FAILURES)) if seen.failed else 1.0
    return Metric("failures", 0.0, share, name, p_value, share)


def homogeneity(pairs: Sequence[tuple[Floats, Floats]]) -> tuple[float, float]:
    """Pearson's χ² test that two samples have one distribution over bins, summed over strata.

    Args:
        pairs: For each stratum the counts of either sample, both of shape (bins,). Sparse bins are put together.

    Returns:
        The p-value, and the effect size: Cohen's w, less what chance alone leads to expect of it.

    Example:
        >>> p, w = homogeneity([(np.array([500.0, 500.0]), np.array([600.0, 400.0]))])
        >>> p < 0.001, round(w, 2)
        (True, 0.2)
    """
    from scipy.special import chdtrc

    statistic, freedom, squares, total = 0.0, 0, 0.0, 0.0
    for first, second in pairs:
        merged = _without_sparse(np.stack([first, second]))
        sizes = merged.sum(1)
        if merged.shape[1] < 2 or not sizes.all():
            continue
        expected = np.outer(sizes, merged.sum(0)) / sizes.sum()
        found = float(((merged - expected) ** 2 / expected).sum())
        statistic, freedom = statistic + found, freedom + merged.shape[1] - 1
        squares += sizes[1] * (found - merged.shape[1] + 1) * float((1 / sizes).sum())
        total += float(sizes[1])
    if not freedom:
        return 1.0, 0.0
    return float(chdtrc(freedom, statistic)), math.sqrt(max(0.0, squares / total))


def _without_sparse(counts: Floats) -> Floats:
    """The counts with their sparse bins put together; the rest of these joins the smallest bin, if it is sparse too."""
    share = counts.sum(1, keepdims=True) / max(1.0, counts.sum())
    expected = (share * counts.sum(0)).min(0)
    sparse = expected < _SPARSE
    if not sparse.any():
        return counts
    kept, rest = counts[:, ~sparse], counts[:, sparse].sum(1, keepdims=True)
    if expected[sparse].sum() >= _SPARSE or not kept.size:
        return np.hstack([kept, rest])
    kept[:, [int(expected[~sparse].argmin())]] += rest
    return kept


def welch(pairs: Sequence[tuple[Sample, Sample]]) -> float:
    """Welch's t-test that two samples have one mean; over strata, that those of either sample weigh up to the same.

    Args:
        pairs: For each stratum the two samples; strata weigh as much as the second one has values there.

    Returns:
        The two-sided p-value.

    Example:
        >>> welch([(Sample(100, 1.0, 1.0), Sample(100, 1.0, 4.0))])
        1.0
    """
    from scipy.special import stdtr

    total = sum(second.count for _, second in pairs)
    difference = sum(second.count * (second.mean - first.mean) for first, second in pairs) / total
    parts = [
        ((second.count / total) ** 2 * one.variance / one.count, one.count)
        for first, second in pairs
        for one in (first, second)
    ]
    error = sum(part for part, _ in parts)
    if error == 0:
        return 1.0 if math.isclose(difference, 0.0, abs_tol=1e-12) else 0.0
    freedom = error**2 / sum(part**2 / max(1, count - 1) for part, count in parts)
    return float(2 * stdtr(freedom, -abs(difference) / math.sqrt(error)))


def holm(p_values: Sequence[float | None], rate: float) -> list[bool]:
    """Holm's step-down procedure: which hypotheses fall, with a chance of `rate` at most that a true one does.

    Args:
        p_values: None: not tested.
        rate: The family-wise error rate.

    Example:
        >>> holm([0.001, 0.04, None], 0.05)
        [True, True, False]
    """
    order = sorted((p, at) for at, p in enumerate(p_values) if p is not None)
    fallen = [False] * len(p_values)
    for rank, (p, at) in enumerate(order):
        if p > rate / (len(order) - rank):
            break
        fallen[at] = True
    return fallen
