"""What each model of the pool is worth in each cluster: statistics, shrinkage, normalised cost, Pareto front."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from cascade_components.arrays import Floats

ERROR_TOL = 0.001
"""Errors this close are tied (arXiv 2606.27457, its code's default)."""

Conditioning = Literal["model", "cluster"]
"""What Eq. 2 prices: a model by one cost, or each model in each cluster by its own."""

_EPS = 1e-9


@dataclass(frozen=True)
class PoolStats:
    """Error and cost of each model in each cluster, in the units of one cost metric.

    Raises:
        ValueError: Shapes differ, a number is not finite, or a cluster is empty.

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
    given_model_cost: Floats | None = None
    """Cost(m) where it was measured as such, shape (models,); None: the size-weighted mean of `cost`."""
    output_tokens: Floats | None = None
    """Mean length of an answer, shape (models, clusters), NaN where unknown; TPOT over two passes needs it."""
    conditioning: Conditioning = "model"
    error_tol: float = ERROR_TOL
    """Errors within this of each other are tied."""

    def __post_init__(self) -> None:
        cells = (len(self.models), len(self.sizes))
        per_cell = dict.fromkeys(("error", "cost", "output_tokens"), cells)
        for name, shape in {**per_cell, "given_model_cost": cells[:1], "sizes": cells[1:]}.items():
            values = getattr(self, name)
            array = None if values is None else np.asarray(values, float)
            if array is not None and array.shape != shape:
                msg = f"{name} must have shape {shape} (models, clusters: {cells}), found {array.shape}."
                raise ValueError(msg)
            object.__setattr__(self, name, array)
        given = 0.0 if self.given_model_cost is None else self.given_model_cost
        finite = all(np.isfinite(values).all() for values in (self.error, self.cost, given))
        if not (finite and (self.sizes > 0).all()):
            msg = "error and cost must be finite, and every cluster must hold a query."
            raise ValueError(msg)
        if self.conditioning not in get_args(Conditioning) or not self.error_tol >= 0:
            msg = f"conditioning must be one of {', '.join(get_args(Conditioning))} and error_tol at least 0; "
            raise ValueError(msg + f"found {self.conditioning!r} and {self.error_tol}.")

    @property
    def weights(self) -> Floats:
        """Share of the queries in each cluster."""
        return np.asarray(self.sizes / self.sizes.sum())

    def mean(self, values: Floats) -> Floats:
        """Size-weighted mean over the clusters, the last axis of `values`."""
        return np.asarray((values * self.sizes).sum(-1) / self.sizes.sum())

    @property
    def mean_error(self) -> Floats:
        """Size-weighted error of each model."""
        return self.mean(self.error)

    @property
    def model_cost(self) -> Floats:
        """Cost(m) of Eq. 2: the given one, or the size-weighted cost of each model."""
        return self.mean(self.cost) if self.given_model_cost is None else self.given_model_cost

    @property
    def cost_norm(self) -> Floats:
        """Eq. 2: `(Cost(m) − min) / (max − min)`, shape (models,); zero where all cost the same."""
        return _normalised(self.model_cost)

    @property
    def scored_cost(self) -> Floats:
        """The cost that Eq. 1 adds to the error, shape (models, clusters).

        Conditioned on the model, its `cost_norm` in every cluster. Conditioned on the cluster, Eq. 2 over the whole
        matrix of measured costs: one scale, so that λ means the same in every cluster.
        """
        if self.conditioning == "cluster":
            return _normalised(self.cost)
        return np.repeat(self.cost_norm[:, None], len(self.sizes), axis=1)

    def only(self, models: tuple[str, ...]) -> PoolStats:
        """The same statistics for some of the models, in the order given."""
        rows = [self.models.index(model) for model in models]
        return replace(
            self,
            models=models,
            error=self.error[rows],
            cost=self.cost[rows],
            given_model_cost=None if self.given_model_cost is None else self.given_model_cost[rows],
            output_tokens=None if self.output_tokens is None else self.output_tokens[rows],
        )


def pareto_front(stats: PoolStats, *, error_tol: float | None = None) -> tuple[str, ...]:
    """Models that no other dominates; a dominated one is never chosen, whatever the cost weight.

    A model dominates another if it costs no more and errs no more in every cluster, and is strictly better in
    one of these; errors within `error_tol` count as equal. Where costs are conditioned on the cluster, it must cost
    no more in every cluster.

    Args:
        stats: The pool.
        error_tol: Width of a tie, in error units; None: the one of the statistics.

    Example:
        >>> stats = PoolStats(("good", "bad"), [[0.1], [0.2]], [[1], [2]], [10])
        >>> pareto_front(stats)
        ('good',)
    """
    tol = (stats.error_tol if error_tol is None else error_tol) + _EPS
    cost = stats.cost if stats.conditioning == "cluster" else stats.model_cost[:, None]

    def dominates(a: int, b: int) -> bool:
        no_worse = bool((cost[a] <= cost[b]).all() and (stats.error[a] <= stats.error[b] + tol).all())
        return no_worse and bool((cost[a] < cost[b]).any() or (stats.error[a] < stats.error[b] - tol).any())

    rows = range(len(stats.models))
    return tuple(stats.models[b] for b in rows if not any(dominates(a, b) for a in rows if a != b))


def _normalised(cost: Floats) -> Floats:
    spread = cost.max() - cost.min()
    return np.asarray((cost - cost.min()) / spread if spread > 0 else np.zeros(cost.shape))


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
