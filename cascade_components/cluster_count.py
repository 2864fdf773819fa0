"""How many clusters: as many as make the best routing decisions on queries that were held out."""

from __future__ import annotations

import numpy as np

from cascade_components.arrays import Floats, Labels, cluster_moments, nan_mean
from cascade_components.clustering import QueryClusterer
from cascade_components.pool import shrink

CANDIDATES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MIN_CLUSTER = 50
"""Training queries per cluster below which a candidate is not tried: plans made for fewer are won by luck."""
COST_WEIGHTS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)

_FOLDS = 4
_REPEATS = 4
"""With few queries one division into folds is luck."""
_ENOUGH = 4000
"""Queries beyond which more change the choice no further; a sample is taken."""


def best_cluster_count(vectors: Floats, correct: Floats, cost: Floats, *, seed: int = 0) -> int:
    """Choose k by cross-validated routing utility: accuracy − λ · normalised cost, over several λ.

    Silhouette, which the paper uses, asks how round the clusters are, and picks 2 or 3; routing wants more. A count
    that is too high by luck does little harm: small clusters shrink towards the mean.

    Args:
        vectors: Query vectors, shape (queries, dim).
        correct: Shape (queries, models); NaN where unknown.
        cost: Same shape.
        seed: Seed of sample, folds and centroids.
    """
    rng = np.random.default_rng(seed)
    sample = rng.permutation(len(vectors))[:_ENOUGH]
    vectors, correct, cost = vectors[sample], correct[sample], cost[sample]
    folds = [rng.permutation(len(vectors)) % _FOLDS for _ in range(max(1, min(_REPEATS, 2000 // len(vectors))))]
    largest = min(len(vectors) // MIN_CLUSTER, len(np.unique(vectors, axis=0)) * (_FOLDS - 1) // _FOLDS)
    candidates = [k for k in CANDIDATES if k <= max(1, largest)]
    return max(candidates, key=lambda k: sum(_utility(k, vectors, correct, cost, fold, seed) for fold in folds))


def _utility(k: int, vectors: Floats, correct: Floats, cost: Floats, fold: Labels, seed: int) -> float:
    """Sum over the queries, each held out once, and over the cost weights."""
    utility = 0.0
    for number in range(_FOLDS):
        seen = fold != number
        clusterer = QueryClusterer(k, seed=seed, n_init=2).fit(vectors[seen])
        accuracy = shrink(*cluster_moments(correct[seen].T, clusterer.labels_, k))
        model_cost = nan_mean(cost[seen].T)
        norm = (model_cost - model_cost.min()) / (np.ptp(model_cost) or 1.0)
        labels, _ = clusterer.predict(vectors[~seen])
        for cost_weight in COST_WEIGHTS:
            chosen = (accuracy - cost_weight * norm[:, None]).argmax(0)[labels]
            right = np.nan_to_num(correct[~seen][np.arange(len(labels)), chosen])
            utility += float((right - cost_weight * norm[chosen]).sum())
    return utility
