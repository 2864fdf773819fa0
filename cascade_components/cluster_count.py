"""How many clusters: as many as tell best which model is right on queries that were held out."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cascade_components.arrays import Floats, Labels, cluster_moments, nan_mean
from cascade_components.clustering import QueryClusterer, coordinates
from cascade_components.pool import shrink
from cascade_components.progress import with_bar
from cascade_components.smoothing import Neighbourhood

CANDIDATES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MIN_CLUSTER = 80
"""Training queries per cluster below which a candidate is not tried: plans made for fewer are won by luck."""

_FOLDS = 4
_REPEATS = 4
"""With few queries one division into folds is luck."""
_ENOUGH = 4000
"""Queries beyond which more change the choice no further; a sample is taken."""


def find_clusters(
    vectors: Floats,
    correct: Floats,
    clusters: int | Literal["auto"],
    *,
    rounded: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> QueryClusterer:
    """Cluster queries.

    Args:
        vectors: Query vectors, shape (queries, dim).
        correct: Shape (queries, models); NaN where unknown.
        clusters: How many; "auto" chooses.
        rounded: Whether "auto" chooses by silhouette, as arXiv 2606.27457 does, or else as `best_cluster_count` does.
        seed: Seed of sample, folds and centroids.
        progress: Show a progress bar on a terminal.
    """
    count: int | str = clusters
    if clusters == "auto":
        count = "silhouette" if rounded else best_cluster_count(vectors, correct, seed=seed, progress=progress)
    return QueryClusterer(count, seed=seed).fit(vectors)


def best_cluster_count(vectors: Floats, correct: Floats, *, seed: int = 0, progress: bool = False) -> int:
    """Choose k by how well cluster means tell which model is right on queries that were held out.

    Silhouette, which the paper uses, asks how round the clusters are, and picks 2 or 3; routing wants more. Of the
    counts within a standard error of the best the largest is taken: means of small clusters shrink, so that a count
    too high does little harm, and Stage 2 finds more to choose from.

    Args:
        vectors: Query vectors, shape (queries, dim).
        correct: Shape (queries, models); NaN where unknown.
        seed: Seed of sample, folds and centroids.
        progress: Show a progress bar on a terminal.
    """
    rng = np.random.default_rng(seed)
    sample = rng.permutation(len(vectors))[:_ENOUGH]
    vectors, correct = vectors[sample], correct[sample]
    folds = [rng.permutation(len(vectors)) % _FOLDS for _ in range(max(1, min(_REPEATS, 2000 // len(vectors))))]
    largest = min(len(vectors) // MIN_CLUSTER, len(np.unique(vectors, axis=0)) * (_FOLDS - 1) // _FOLDS)
    candidates = [k for k in CANDIDATES if k <= max(1, largest)]
    errors = np.array(
        [
            np.mean([_errors(k, vectors, correct, fold, seed) for fold in folds], 0)
            for k in with_bar(candidates, "try numbers of clusters", progress=progress)
        ]
    )
    best = errors.mean(1).argmin()
    beyond = errors - errors[best]
    within = beyond.mean(1) <= beyond.std(1) / np.sqrt(len(vectors))
    return max(k for k, fine in zip(candidates, within, strict=True) if fine)


def _errors(k: int, vectors: Floats, correct: Floats, fold: Labels, seed: int) -> Floats:
    """Squared error of each query's differences between models, as its cluster's means foretell them, when held out."""
    ease = nan_mean(correct)[:, None]
    errors = np.empty(len(vectors))
    for number in range(_FOLDS):
        seen, unseen = fold != number, fold == number
        clusterer = QueryClusterer(k, seed=seed, n_init=2).fit(vectors[seen])
        worth = (correct - ease)[seen].T
        expected = Neighbourhood(coordinates(vectors[seen], clusterer.centroids_)).expected(worth)
        prior, _, _ = cluster_moments(expected, clusterer.labels_, k)
        found = prior + shrink(*cluster_moments(worth - expected, clusterer.labels_, k))
        labels, _ = clusterer.predict(vectors[unseen])
        errors[unseen] = np.nan_to_num(nan_mean(((correct - ease)[unseen] - found[:, labels].T) ** 2))
    return errors
