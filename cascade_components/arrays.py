"""Array types and the NaN-aware arithmetic that the tables share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.intp]


def nan_mean(values: Floats) -> Floats:
    """Mean over the last axis; NaN, without a warning, where nothing is known."""
    known = ~np.isnan(values)
    count = known.sum(-1)
    total = np.where(known, values, 0.0).sum(-1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def cluster_moments(values: Floats, labels: Labels, clusters: int) -> tuple[Floats, Floats, Floats]:
    """Mean, count and pooled within-cluster variance of per-query values.

    Args:
        values: Shape (..., queries); NaN where unknown.
        labels: Cluster of each query, shape (queries,).
        clusters: Number of clusters.

    Returns:
        Means and counts of shape (..., clusters), NaN means where a cluster has no value; variances of shape (...,).
    """
    member = (labels[:, None] == np.arange(clusters)).astype(float)
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    count = known.astype(float) @ member
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (filled @ member) / count
    residual = np.where(known, filled - np.nan_to_num(mean)[..., labels], 0.0)
    freedom = np.maximum(1.0, count.sum(-1) - (count > 0).sum(-1))
    return mean, count, (residual**2).sum(-1) / freedom
