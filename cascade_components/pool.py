"""What each model of the pool is worth in each cluster: statistics, shrinkage, normalised cost, Pareto front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cascade_components.arrays import Floats

ERROR_TOL = 0.001
"""Errors this close are tied (arXiv 2606.27457, its code's default)."""

_EPS = 1e-9


@dataclass(frozen=True)
class PoolStats:
    """Error and cost of each model in each cluster, in the units of one cost metric.

    Example:
        >>> stats = PoolStats(("small", "large"), [[0.3, 0.1], [0.1, 0.1]], [[1, 1], [4, 4]], [50, 50])
        >>> stats.cost_norm.tolist(), stats.mean_error.tolist()
        ([0.0, 1.0], [0.2, 0.1])
    """

    models: tuple[str, ...]
    error: Floats
    """1 − accuracy, shape (models, clusters)."""
    cost: Floats
    """Mean cost per query, shape (models, clusters)."""
    sizes: Floats
    """Queries in each cluster, shape (clusters,)."""

    def __post_init__(self) -> None:
        for name in ("error", "cost", "sizes"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), float))
        shape = (len(self.models), len(self.sizes))
        if self.error.shape != shape or self.cost.shape != shape:
            msg = f"error and cost must have shape (models, clusters) = {shape}, found {self.error.shape} and "
            raise ValueError(msg + f"{self.cost.shape}.")
        if not (np.isfinite(self.error).all() and np.isfinite(self.cost).all() and (self.sizes > 0).all()):
            msg = "error and cost must be finite, and every cluster must hold a query."
            raise ValueError(msg)

    @property
    def weights(self) -> Floats:
        """Share of the queries in each cluster."""
        return np.asarray(self.sizes / self.sizes.sum())

    @property
    def mean_error(self) -> Floats:
        """Size-weighted error of each model."""
        return np.asarray(self.error @ self.weights)

    @property
    def model_cost(self) -> Floats:
        """Cost(m) of Eq. 2: size-weighted cost of each model."""
        return np.asarray(self.cost @ self.weights)

    @property
    def cost_norm(self) -> Floats:
        """Eq. 2: `(Cost(m) − min) / (max − min)`; zero where all cost the same."""
        cost = self.model_cost
        spread = cost.max() - cost.min()
        return np.asarray((cost - cost.min()) / spread if spread > 0 else np.zeros(len(cost)))

    def only(self, models: tuple[str, ...]) -> PoolStats:
        """The same statistics for some of the models, in the order given."""
        rows = [self.models.index(model) for model in models]
        return PoolStats(models, self.error[rows], self.cost[rows], self.sizes)


def pareto_front(stats: PoolStats, *, error_tol: float = ERROR_TOL) -> tuple[str, ...]:
    """Models that no other dominates; a dominated one is never chosen, whatever the cost weight.

    A model dominates another if it costs no more and errs no more in every cluster, and is strictly better in
    one of these; errors within `error_tol` count as equal.

    Example:
        >>> stats = PoolStats(("good", "bad"), [[0.1], [0.2]], [[1], [2]], [10])
        >>> pareto_front(stats)
        ('good',)
    """
    tol = error_tol + _EPS
    cost = stats.model_cost

    def dominates(a: int, b: int) -> bool:
        no_worse = cost[a] <= cost[b] and bool((stats.error[a] <= stats.error[b] + tol).all())
        return no_worse and bool(cost[a] < cost[b] or (stats.error[a] < stats.error[b] - tol).any())

    rows = range(len(stats.models))
    return tuple(stats.models[b] for b in rows if not any(dominates(a, b) for a in rows if a != b))


def shrink(mean: Floats, count: Floats, variance: Floats | float) -> Floats:
    """Empirical-Bayes shrinkage of cluster means towards their overall mean, strength by moments.

    With τ² the variance between clusters beyond what chance explains, a cluster's mean counts as its `count` values
    against σ²/τ² values of the overall mean. Small clusters lie, and an argmin picks the luckiest.

    Args:
        mean: Shape (..., clusters); NaN where a cluster has no value (it takes the overall mean).
        count: Values behind each mean, same shape.
        variance: Variance σ² within clusters, shape (...,).

    Example:
        >>> shrink(np.array([0.0, 0.5, 1.0]), np.array([2.0, 100.0, 100.0]), 0.25).round(2).tolist()
        [0.2, 0.5, 0.99]
    """
    sigma2 = np.asarray(variance, float)[..., None]
    known = np.where(count > 0, mean, 0.0)
    total = count.sum(-1, keepdims=True)
    overall = (known * count).sum(-1, keepdims=True) / np.maximum(total, 1)
    used = np.maximum(1, (count > 0).sum(-1, keepdims=True) - 1)
    spread = (count * (known - overall) ** 2).sum(-1, keepdims=True)
    # Method of moments for one-way random effects (as in ANOVA with unequal group sizes).
    effective = (total - (count**2).sum(-1, keepdims=True) / np.maximum(total, 1)) / used
    tau2 = np.maximum(0.0, (spread / used - sigma2) / np.maximum(effective, 1.0))
    weight = np.where(sigma2 > 0, count * tau2 / np.maximum(count * tau2 + sigma2, 1e-300), 1.0)
    weight = np.where(count > 0, weight, 0.0)
    return np.asarray(weight * known + (1 - weight) * overall)
