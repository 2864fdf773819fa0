"""What a policy expects of its traffic: its plans replayed on the queries of the fit, in counts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cascade_components.arrays import Floats, nan_mean
from cascade_components.monitoring.replay import Replay, replay
from cascade_components.policy import CascadePolicy
from cascade_components.quality.calibrated import WEAK
from cascade_components.trace import Plan

BINS = 10
FEWEST_IN_BIN = 20
"""Values of the fit in a bin, and in a sample, at least."""


@dataclass(frozen=True)
class Bins:
    """Values of the fit, in bins that hold about as many of them each."""

    edges: tuple[float, ...]
    counts: Floats
    """Shape (bins,)."""
    mean: float

    @classmethod
    def of(cls, values: Floats) -> Bins | None:
        """Bins for values of shape (n,); None: there are too few."""
        most = min(BINS, len(values) // FEWEST_IN_BIN)
        if most < 2:
            return None
        edges = np.unique(np.quantile(values, np.arange(1, most) / most))
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
        return cls(tuple(edges.tolist()), counts.astype(float), float(values.mean()))

    def place(self, value: float) -> int:
        """The bin that a value falls into."""
        return bisect_right(self.edges, value)


@dataclass(frozen=True)
class Sample:
    """How many values of the fit there are, their mean and variance."""

    count: float
    mean: float
    variance: float


@dataclass(frozen=True)
class Expectation:
    """What the fit saw, to be compared with what is seen."""

    plans: tuple[Plan, ...]
    """Of each cluster; the last one: of queries out of the map."""
    clusters: Floats
    """Queries in each cluster, and out of the map, shape (clusters + 1,)."""
    distances: Bins | None
    """Distances to the nearest centroid; None: not known."""
    scores: Mapping[str, Sample]
    """P(correct) of the answers that gates judge, by the model that wrote them."""
    escalation: Sample | None
    """Share of the queries whose first answer is judged weak."""
    cost: Sample | None
    """Per query, both stages together, under the policy's metric; None: not known."""

    @property
    def shares(self) -> list[float]:
        """Share of the queries in each cluster, and out of the map."""
        return [float(share) for share in self.clusters / self.clusters.sum()]


def expectation(policy: CascadePolicy) -> Expectation:
    """What a policy expects at its operating point.

    Of a policy that was made from statistics, without the outcomes of single queries, only the clusters' shares and
    the escalation rate are known.
    """
    evidence, table = policy.evidence, policy.table
    if not evidence.query_ids:
        plans = policy.every_plan
        rate = float(table.weights @ table.escalation[list(policy.point.options), np.arange(len(table.sizes))])
        total = float(table.sizes.sum())
        return Expectation(plans, np.append(table.sizes, 0.0), None, {}, Sample(total, rate, rate * (1 - rate)), None)
    seen = replay(policy)
    known = ~np.isnan(evidence.distances)
    return Expectation(
        seen.plans,
        np.bincount(seen.place, minlength=len(seen.plans)).astype(float),
        Bins.of(evidence.distances[known]),
        _scores(policy, seen),
        _sample(seen.escalation),
        _sample(seen.cost),
    )


def _scores(policy: CascadePolicy, seen: Replay) -> dict[str, Sample]:
    evidence, found = policy.evidence, {}
    for model in sorted({plan.start for plan in seen.plans if plan.target is not None}):
        at = policy.models.index(model)
        gated = [place for place, plan in enumerate(seen.plans) if plan.start == model and plan.target is not None]
        p_correct, scores = evidence.p_correct[:, at], evidence.scores[:, at]
        judged = np.isin(seen.place, gated)[:, None] & ~np.isnan(p_correct) & (scores != WEAK)
        # Runs of one query are alike: together they count once.
        sample = _sample(nan_mean(np.where(judged, p_correct, np.nan)))
        if sample is not None:
            found[model] = sample
    return found


def _sample(values: Floats) -> Sample | None:
    known = values[~np.isnan(values)]
    if len(known) < FEWEST_IN_BIN:
        return None
    return Sample(float(len(known)), float(known.mean()), float(known.var(ddof=1)))
