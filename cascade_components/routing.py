"""The paper's Stage 1, its gates for Stage 2 and what they will cost (arXiv 2606.27457, Eq. 1–5), on `PoolStats`.

`route` is Eq. 1, `PoolStats.cost_norm` Eq. 2, `crossovers` Eq. 3, `best_region` Eq. 4, `efficiency` Eq. 5.
Prune the pool with `pareto_front` first, as the paper does. Whether a model has one cost or one in each cluster, and
how close two errors count as tied, are fields of the statistics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cascade_components.accounting import escalated_cost
from cascade_components.arrays import Floats, Labels
from cascade_components.outcomes import Metric
from cascade_components.pool import PoolStats

_EPS = 1e-9


@dataclass(frozen=True)
class Crossover:
    """Eq. 3: the cost weight at which two models tie in a cluster."""

    cluster: int
    models: tuple[str, str]
    cost_weight: float


@dataclass(frozen=True)
class Region:
    """A maximal interval [low, high) of cost weights over which the routing is constant."""

    low: float
    high: float
    routing: tuple[str, ...]
    """Model of each cluster."""
    accuracy: float
    """Size-weighted, on the data behind the statistics."""
    cost: float
    """Size-weighted, per query."""

    @property
    def cost_weight(self) -> float:
        """The number with the fewest decimals inside the region: it names the operating point (λ*).

        Example:
            >>> Region(0.052, 0.067, ("a",), 0.9, 1.0).cost_weight
            0.06
        """
        for decimals in range(1, 12):
            step = 10.0**-decimals
            if math.isinf(self.high):
                candidates = [round((math.floor(self.low / step) + 1) * step, decimals)]
            else:
                top = math.floor(self.high / step)
                candidates = [round(multiple * step, decimals) for multiple in (top, top - 1)]
            inside = [number for number in candidates if self.low < number < self.high]
            if inside:
                return inside[0]
        return 2 * self.low if math.isinf(self.high) else (self.low + self.high) / 2


def route(stats: PoolStats, cost_weight: float, *, error_tol: float | None = None) -> tuple[str, ...]:
    """Eq. 1: the model of each cluster, `argmin_m Error(m, c) + λ · Cost_norm(m)`, ties to the cheaper.

    Models whose error lies within `error_tol` of the argmin's count as tied with it.

    Args:
        stats: The pool.
        cost_weight: λ, the error increase tolerated for going from the dearest to the cheapest model; ≥ 0.
        error_tol: Width of a tie, in error units; None: the one of the statistics.

    Example:
        >>> stats = PoolStats(("small", "large"), [[0.3, 0.1], [0.1, 0.1]], [[1, 1], [4, 4]], [50, 50])
        >>> route(stats, 0.1), route(stats, 0.3)
        (('large', 'small'), ('small', 'small'))
    """
    return _names(stats, _route(stats, np.array([cost_weight]), error_tol)[0])


def _route(stats: PoolStats, cost_weights: Floats, error_tol: float | None) -> Labels:
    """Rows of the models chosen at each cost weight, shape (cost weights, clusters)."""
    tol = (stats.error_tol if error_tol is None else error_tol) + _EPS
    columns = []
    for error, cost in zip(stats.error.T, stats.scored_cost.T, strict=True):
        by_cost = np.argsort(cost, kind="stable")
        score = error + np.multiply.outer(cost_weights, cost)
        best = by_cost[score[:, by_cost].argmin(1)]
        tied = np.abs(error - error[best][:, None]) <= tol
        preferred = np.lexsort((np.array(stats.models), error, cost))  # the last key counts first
        columns.append(preferred[tied[:, preferred].argmax(1)])
    return np.stack(columns, axis=1)


def crossovers(stats: PoolStats) -> list[Crossover]:
    """Eq. 3: `λ_c = (Error(a,c) − Error(b,c)) / (Cost_norm(b) − Cost_norm(a))`, the positive ones, ascending.

    Example:
        >>> stats = PoolStats(("small", "large"), [[0.3, 0.1], [0.1, 0.1]], [[1, 1], [4, 4]], [50, 50])
        >>> [(found.cluster, round(found.cost_weight, 3)) for found in crossovers(stats)]
        [(0, 0.2)]
    """
    found = []
    for cluster, (error, cost) in enumerate(zip(stats.error.T, stats.scored_cost.T, strict=True)):
        for a, b in combinations(range(len(cost)), 2):
            if abs(cost[a] - cost[b]) > _EPS:  # closer costs are equal but for rounding
                at = round(float((error[a] - error[b]) / (cost[b] - cost[a])), 12)
                if at > 0:
                    found.append(Crossover(cluster, (stats.models[a], stats.models[b]), at))
    return sorted(found, key=lambda crossover: crossover.cost_weight)


def regions(stats: PoolStats, *, error_tol: float | None = None) -> list[Region]:
    """The crossovers cut [0, ∞) into regions of constant routing; crossovers that change nothing are merged away.

    Example:
        >>> stats = PoolStats(("small", "large"), [[0.3, 0.1], [0.1, 0.1]], [[1, 1], [4, 4]], [50, 50])
        >>> [(found.routing, round(found.cost, 3)) for found in regions(stats)]
        [(('large', 'small'), 2.5), (('small', 'small'), 1.0)]
    """
    edges = np.array([0.0, *sorted({crossover.cost_weight for crossover in crossovers(stats)})])
    inside = np.append((edges[:-1] + edges[1:]) / 2, edges[-1] + max(edges[-1] * 0.5, 0.05))
    rows = _route(stats, inside, error_tol)
    first = [0, *(np.flatnonzero((rows[1:] != rows[:-1]).any(axis=1)) + 1)]
    highs = [*edges[first[1:]].tolist(), math.inf]
    return [
        Region(float(edges[at]), high, _names(stats, rows[at]), *_system(stats, rows[at]))
        for at, high in zip(first, highs, strict=True)
    ]


def best_region(stats: PoolStats, budget: float, *, error_tol: float | None = None) -> Region:
    """Eq. 4: the region of highest accuracy whose system cost is within the budget; ties to the cheaper.

    The constraint counts each cluster's own cost, whatever Eq. 2 prices.

    Args:
        stats: The pool.
        budget: Mean cost per query, in the metric's units. As in the paper it binds Stage 1 alone.
        error_tol: Width of a tie, in error units; None: the one of the statistics.

    Raises:
        ValueError: No region is within the budget; the message names the cheapest.

    Example:
        >>> stats = PoolStats(("small", "large"), [[0.3, 0.1], [0.1, 0.1]], [[1, 1], [4, 4]], [50, 50])
        >>> best_region(stats, budget=3).routing, best_region(stats, budget=2).cost_weight
        (('large', 'small'), 0.3)
    """
    found = regions(stats, error_tol=error_tol)
    within = [region for region in found if region.cost <= budget]
    if not within:
        cheapest = min(region.cost for region in found)
        msg = f"No routing is within the budget of {budget:g}: the cheapest costs {cheapest:.6g} per query."
        raise ValueError(msg)
    return max(within, key=lambda region: (region.accuracy, -region.cost))


def efficiency(stats: PoolStats, region: Region, *, error_tol: float | None = None) -> float | None:
    """Eq. 5, η: accuracy points given up per unit of cost saved against λ = 0; None where nothing is saved.

    For a cost in milliseconds per request it is small: times 1,000 it is points per second.

    Example:
        >>> stats = PoolStats(("small", "large"), [[0.3, 0.1], [0.1, 0.1]], [[1, 1], [4, 4]], [50, 50])
        >>> round(efficiency(stats, best_region(stats, budget=2)), 2)
        6.67
    """
    accuracy, cost = _system(stats, _route(stats, np.zeros(1), error_tol)[0])
    if math.isclose(cost, region.cost):
        return None
    return (accuracy - region.accuracy) * 100 / (cost - region.cost)


def stage2_gates(
    stats: PoolStats, routing: Sequence[str], *, target: str | None = None
) -> tuple[str, tuple[bool, ...]]:
    """The paper's Stage 2: whom weak answers go to, and which clusters' answers are judged.

    Args:
        stats: The pool.
        routing: Model of each cluster.
        target: Whom to escalate to; None: the most accurate model in use, ties to the cheaper.

    Returns:
        The target, and for each cluster whether its answers are judged: where its model costs less than the target.

    Raises:
        ValueError: A model is not in the pool.

    Example:
        >>> stats = PoolStats(("small", "large"), [[0.3, 0.1], [0.1, 0.1]], [[1, 1], [4, 4]], [50, 50])
        >>> stage2_gates(stats, ("large", "small"))
        ('large', (False, True))
        >>> stage2_gates(stats, ("small", "small"), target="large")
        ('large', (True, True))
    """
    accuracy, cost = stats.mean(1 - stats.error), stats.model_cost
    rows = _rows(stats, routing)
    if target is None:
        to = min(set(rows.tolist()), key=lambda row: (-accuracy[row], cost[row], stats.models[row]))
    else:
        to = int(_rows(stats, [target])[0])
    return stats.models[to], tuple(bool(cost[row] < cost[to]) for row in rows)


@dataclass(frozen=True)
class Stage2Estimate:
    """What Stage 2 is expected to make of a routing; means per query, weighted by cluster size."""

    escalated: float
    """Share of the queries."""
    stage1_cost: float
    added_cost: float
    accuracy: float
    """Of both stages together, at least."""

    @property
    def cost(self) -> float:
        """Of both stages together."""
        return self.stage1_cost + self.added_cost


def stage2_estimate(
    stats: PoolStats, routing: Sequence[str], target: str, gates: Sequence[bool], *, metric: Metric
) -> Stage2Estimate:
    """Estimate before deployment what Stage 2 will cost, from training statistics alone.

    Exactly the wrong answers of each gated cluster are taken to escalate, and each pays for both passes
    (`accounting.escalated_cost`). An estimator that misses some adds less, one that doubts right answers adds more.
    What escalated answers are worth depends on how the models' errors overlap; the least is that a cluster ends up
    as good as the better of its two models.

    Args:
        stats: The pool under the metric that is estimated, be it the one that the gates were chosen under or another.
            TPOT takes the length of answers from `output_tokens`, and equal lengths where these are unknown.
        routing: Model of each cluster.
        target: Whom weak answers go to.
        gates: For each cluster whether its answers are judged; `stage2_gates` finds target and gates.
        metric: What the statistics' cost is.

    Raises:
        ValueError: A model is not in the pool.

    Example:
        >>> stats = PoolStats(("small", "large"), [[0.3, 0.1], [0.1, 0.1]], [[1, 1], [4, 4]], [50, 50])
        >>> found = stage2_estimate(stats, ("small", "small"), "large", (True, False), metric="cost_usd")
        >>> found.escalated, found.stage1_cost, round(found.added_cost, 6), found.accuracy
        (0.15, 1.0, 0.6, 0.9)
    """
    cells = _rows(stats, routing), np.arange(len(stats.sizes))
    to = int(_rows(stats, [target])[0])
    tokens = np.full(stats.error.shape, np.nan) if stats.output_tokens is None else stats.output_tokens
    error, cost = stats.error[cells], stats.cost[cells]
    both = escalated_cost(metric, cost, stats.cost[to], tokens[cells], tokens[to])
    rate = np.where(gates, error, 0.0)
    remaining = np.where(gates, np.minimum(error, stats.error[to]), error)
    means = (stats.mean(values) for values in (rate, cost, rate * (both - cost), 1 - remaining))
    return Stage2Estimate(*map(float, means))


def _system(stats: PoolStats, rows: Labels) -> tuple[float, float]:
    """Size-weighted accuracy and cost of a routing."""
    cells = rows, np.arange(len(rows))
    return float(stats.mean(1 - stats.error[cells])), float(stats.mean(stats.cost[cells]))


def _names(stats: PoolStats, rows: Labels) -> tuple[str, ...]:
    return tuple(stats.models[row] for row in rows)


def _rows(stats: PoolStats, models: Sequence[str]) -> Labels:
    unknown = sorted(set(models) - set(stats.models))
    if unknown:
        msg = f"{', '.join(unknown)} not in the pool; it holds {', '.join(stats.models)}."
        raise ValueError(msg)
    return np.array([stats.models.index(model) for model in models], dtype=np.intp)
