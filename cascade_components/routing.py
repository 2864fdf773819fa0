"""The paper's Stage 1, and its gates for Stage 2 (arXiv 2606.27457, Eq. 1–5), as plain functions on `PoolStats`.

`route` is Eq. 1, `PoolStats.cost_norm` Eq. 2, `crossovers` Eq. 3, `best_region` Eq. 4, `efficiency` Eq. 5.
Prune the pool with `pareto_front` first, as the paper does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from cascade_components.arrays import Labels
from cascade_components.pool import ERROR_TOL, PoolStats

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


def route(stats: PoolStats, cost_weight: float, *, error_tol: float = ERROR_TOL) -> tuple[str, ...]:
    """Eq. 1: the model of each cluster, `argmin_m Error(m, c) + λ · Cost_norm(m)`, ties to the cheaper.

    Models whose error lies within `error_tol` of the argmin's count as tied with it.

    Args:
        stats: The pool.
        cost_weight: λ, the error increase tolerated for going from the dearest to the cheapest model; ≥ 0.
        error_tol: Width of a tie, in error units.

    Example:
        >>> stats = PoolStats(("small", "large"), [[0.3, 0.1], [0.1, 0.1]], [[1, 1], [4, 4]], [50, 50])
        >>> route(stats, 0.1), route(stats, 0.3)
        (('large', 'small'), ('small', 'small'))
    """
    return tuple(stats.models[row] for row in _route(stats, cost_weight, error_tol))


def _route(stats: PoolStats, cost_weight: float, error_tol: float) -> Labels:
    cost = stats.cost_norm
    chosen = []
    for error in stats.error.T:
        score = error + cost_weight * cost
        best = min(range(len(cost)), key=lambda m: (score[m], cost[m]))
        tied = [m for m in range(len(cost)) if abs(error[m] - error[best]) <= error_tol + _EPS]
        chosen.append(min(tied, key=lambda m: (cost[m], error[m], stats.models[m])))
    return np.array(chosen, dtype=np.intp)


def crossovers(stats: PoolStats) -> list[Crossover]:
    """Eq. 3: `λ_c = (Error(a,c) − Error(b,c)) / (Cost_norm(b) − Cost_norm(a))`, the positive ones, ascending."""
    cost = stats.cost_norm
    found = []
    for cluster, error in enumerate(stats.error.T):
        for a, b in combinations(range(len(cost)), 2):
            if abs(cost[a] - cost[b]) > _EPS:  # closer costs are equal but for rounding
                at = round(float((error[a] - error[b]) / (cost[b] - cost[a])), 12)
                if at > 0:
                    found.append(Crossover(cluster, (stats.models[a], stats.models[b]), at))
    return sorted(found, key=lambda crossover: crossover.cost_weight)


def regions(stats: PoolStats, *, error_tol: float = ERROR_TOL) -> list[Region]:
    """The crossovers cut [0, ∞) into regions of constant routing; crossovers that change nothing are merged away."""
    edges = [0.0, *sorted({crossover.cost_weight for crossover in crossovers(stats)}), math.inf]
    found: list[Region] = []
    for low, high in pairwise(edges):
        probe = low + max(low * 0.5, 0.05) if math.isinf(high) else (low + high) / 2
        rows = _route(stats, probe, error_tol)
        routing = tuple(stats.models[row] for row in rows)
        if found and found[-1].routing == routing:
            low = found.pop().low
        found.append(Region(low, high, routing, *_system(stats, rows)))
    return found


def best_region(stats: PoolStats, budget: float, *, error_tol: float = ERROR_TOL) -> Region:
    """Eq. 4: the region of highest accuracy whose system cost is within the budget; ties to the cheaper.

    Args:
        stats: The pool.
        budget: Mean cost per query, in the metric's units. As in the paper it binds Stage 1 alone.
        error_tol: Width of a tie, in error units.

    Raises:
        ValueError: No region is within the budget; the message names the cheapest.
    """
    found = regions(stats, error_tol=error_tol)
    within = [region for region in found if region.cost <= budget]
    if not within:
        cheapest = min(region.cost for region in found)
        msg = f"No routing is within the budget of {budget:g}: the cheapest costs {cheapest:.6g} per query."
        raise ValueError(msg)
    return max(within, key=lambda region: (region.accuracy, -region.cost))


def efficiency(stats: PoolStats, region: Region, *, error_tol: float = ERROR_TOL) -> float | None:
    """Eq. 5, η: accuracy points given up per unit of cost saved against λ = 0; None where nothing is saved."""
    accuracy, cost = _system(stats, _route(stats, 0.0, error_tol))
    if math.isclose(cost, region.cost):
        return None
    return (accuracy - region.accuracy) * 100 / (cost - region.cost)


def stage2_gates(stats: PoolStats, routing: tuple[str, ...]) -> tuple[str, tuple[bool, ...]]:
    """The paper's Stage 2: the target is the most accurate model in use, gated is each cluster whose model costs less.

    Returns:
        The target, and for each cluster whether its answers are judged.

    Example:
        >>> stats = PoolStats(("small", "large"), [[0.3, 0.1], [0.1, 0.1]], [[1, 1], [4, 4]], [50, 50])
        >>> stage2_gates(stats, ("large", "small"))
        ('large', (False, True))
    """
    at = {model: row for row, model in enumerate(stats.models)}
    error, cost = stats.mean_error, stats.model_cost
    target = min(set(routing), key=lambda model: (error[at[model]], cost[at[model]], model))
    return target, tuple(bool(cost[at[model]] < cost[at[target]]) for model in routing)


def _system(stats: PoolStats, rows: Labels) -> tuple[float, float]:
    clusters = np.arange(len(rows))
    accuracy = stats.weights @ (1 - stats.error[rows, clusters])
    return float(accuracy), float(stats.weights @ stats.cost[rows, clusters])
