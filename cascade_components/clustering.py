"""Clusters of queries: k-means with frozen centroids, and how far a query may lie from them."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from cascade_components.arrays import Floats, Labels

LARGEST_SAMPLE = 20_000
"""Vectors that centroids are found on; of more, a sample. On 18,000 query vectors, centroids of a sample of 10,000 lay
0.1 % farther (mean squared distance, held out) than those of all; MiniBatchKMeans' of all 0.4 to 0.7 %."""

SILHOUETTE_SAMPLE = 10_000
"""Vectors that a silhouette is taken of: its time grows with their square."""

OUTSIDE = 0.005
"""Share of queries like those of the fit that lie out of the map."""

_ROUNDING = 1e-6
"""Distance that is none: the same text need not give the same bits."""

_PRIOR = 20
"""Queries' worth that a cluster's spread is shrunk towards that of all."""

_FEW = 200
"""Of so many queries the map reaches twice as far beyond the means: few have not seen how far their kind goes."""


class QueryClusterer:
    """K-means on query vectors (arXiv 2606.27457: n_init = 20, nearest Euclidean centroid).

    Args:
        n_clusters: Number of clusters; "silhouette" takes the one of 2…9 with the highest mean silhouette, as
            the paper does.
        seed: Seed of the initial centroids.
        n_init: How often k-means starts anew; the best run is kept.

    Attributes (after `fit`):
        centroids_: Shape (k, dim).
        labels_: Cluster of each fitted vector, shape (n,).
        distances_: Distance of each fitted vector to the nearest centroid, as far as one that was not fitted on would
            be, shape (n,).
        radius_: Distance beyond which a query is out of the map, for each cluster, shape (k,).

    Example:
        >>> clusterer = QueryClusterer(2).fit([[0.0], [0.1], [5.0], [5.1]])
        >>> labels, distances = clusterer.predict([[5.2]])
        >>> bool(labels[0] == clusterer.labels_[2]), round(float(distances[0]), 2)
        (True, 0.15)
    """

    centroids_: Floats
    labels_: Labels
    distances_: Floats
    radius_: Floats

    def __init__(self, n_clusters: int | str = "silhouette", *, seed: int = 0, n_init: int = 20) -> None:
        if n_clusters != "silhouette" and not (isinstance(n_clusters, int) and n_clusters >= 1):
            msg = f"n_clusters must be a positive int or 'silhouette', found {n_clusters!r}."
            raise ValueError(msg)
        self.n_clusters = n_clusters
        self.seed = seed
        self.n_init = n_init

    def fit(self, vectors: ArrayLike) -> Self:
        """Find the centroids.

        Raises:
            ValueError: There are fewer distinct vectors than clusters.
        """
        points = np.asarray(vectors, np.float64)
        sample = np.random.default_rng(self.seed).permutation(len(points))[:LARGEST_SAMPLE]
        self.centroids_ = self._centroids(points if len(sample) == len(points) else points[np.sort(sample)])
        self.labels_, _ = self.predict(points)
        self.distances_ = left_out_distances(points, self.centroids_, self.labels_)
        self.radius_ = _radii(self.distances_, self.labels_, self.centroids_)
        return self

    def predict(self, vectors: ArrayLike) -> tuple[Labels, Floats]:
        """Return the nearest centroid of each vector and the distance to it, both of shape (n,)."""
        return nearest(np.asarray(vectors, np.float64), self.centroids_)

    def _centroids(self, points: Floats) -> Floats:
        distinct = len(np.unique(points, axis=0))
        if isinstance(self.n_clusters, int):
            if distinct < self.n_clusters:
                msg = f"{self.n_clusters} clusters need as many distinct queries; there are {distinct}."
                raise ValueError(msg)
            return self._kmeans(points, self.n_clusters)
        from sklearn.metrics import silhouette_score

        sizes = range(2, min(10, distinct))
        fits = {k: self._kmeans(points, k) for k in sizes}
        if not fits:
            return np.asarray(points.mean(axis=0, keepdims=True))
        size = None if len(points) <= SILHOUETTE_SAMPLE else SILHOUETTE_SAMPLE

        def roundness(centroids: Floats) -> float:
            labels, _ = nearest(points, centroids)
            return float(silhouette_score(points, labels, sample_size=size, random_state=self.seed))

        return max(fits.values(), key=roundness)

    def _kmeans(self, points: Floats, k: int) -> Floats:
        from sklearn.cluster import KMeans

        return np.asarray(KMeans(k, n_init=self.n_init, random_state=self.seed).fit(points).cluster_centers_)


def nearest(points: Floats, centroids: Floats) -> tuple[Labels, Floats]:
    """The nearest centroid of each point by Euclidean distance, and that distance."""
    distances = _distances(points, centroids)
    labels = distances.argmin(1)
    return labels, distances[np.arange(len(points)), labels]


def _distances(points: Floats, centroids: Floats) -> Floats:
    """Euclidean distance from each point to each centroid, shape (n, clusters)."""
    # No copy of the points: they may be large.
    squared = np.einsum("nd,nd->n", points, points)[:, None] - points @ (2 * centroids.T) + (centroids**2).sum(1)
    return np.asarray(np.sqrt(np.maximum(0.0, squared)))


def left_out_distances(points: Floats, centroids: Floats, labels: Labels) -> Floats:
    """Distance of each point to its nearest centroid, had it not been there when the centroids were found.

    A centroid is the mean of its points, so each of them pulls it near: of n points, one is n/(n − 1) times as far from
    the mean of the others. Queries that come later pull nothing, and lie as far away as these distances say.

    Args:
        points: Shape (n, dim).
        centroids: The mean of each cluster's points, shape (clusters, dim).
        labels: Cluster of each point, shape (n,).

    Returns:
        Shape (n,).

    Example:
        >>> left_out_distances(np.array([[0.0], [2.0], [9.0]]), np.array([[1.0], [9.0]]), np.array([0, 0, 1])).tolist()
        [2.0, 2.0, 8.0]
    """
    sizes = np.bincount(labels, minlength=len(centroids))[labels]
    distances = _distances(points, centroids)
    own = np.arange(len(points)), labels
    # The only point of a cluster would have found none there.
    distances[own] = np.where(sizes > 1, distances[own] * sizes / np.maximum(1, sizes - 1), np.inf)
    return np.asarray(distances.min(1))


def _radii(distances: Floats, labels: Labels, centroids: Floats) -> Floats:
    """Distance from each centroid beyond which few queries of its kind lie: its mean, and so many of its spreads.

    How many is a quantile over all clusters: no single one has enough queries to tell its own. Queries that are all
    alike lie closer than their kind reaches: what is less than halfway to the next centroid is on the map in any case.
    """
    clusters, known = len(centroids), np.isfinite(distances)
    own = np.eye(clusters)[labels] * known[:, None]
    finite, sizes = np.where(known, distances, 0.0), own.sum(0)
    overall = finite.sum() / max(1, sizes.sum())
    means = np.where(sizes > 0, finite @ own / np.maximum(1, sizes), overall)
    squares = (finite - means[labels]) ** 2
    pooled = squares @ own.sum(1) / max(1, sizes.sum())
    spreads = np.sqrt((squares @ own + _PRIOR * pooled) / (sizes + _PRIOR))
    turns = (distances - means[labels])[known] / np.maximum(spreads[labels][known], 1e-12)
    farthest = np.quantile(turns, 1 - OUTSIDE) * (1 + _FEW / len(turns)) if len(turns) else np.inf
    return np.asarray(np.maximum(means + farthest * spreads, _halfway(centroids)) + _ROUNDING)


def _halfway(centroids: Floats) -> Floats:
    """Half the distance from each centroid to the next one; 0 where there is no other."""
    between = _distances(centroids, centroids)
    np.fill_diagonal(between, np.inf)
    nearest_other = between.min(1)
    return np.asarray(np.where(np.isfinite(nearest_other), nearest_other, 0.0) / 2)


DIMENSIONS = 16
"""Most coordinates of a query; more say nothing more about which model is right."""


def coordinates(points: Floats, centroids: Floats) -> Floats:
    """The points in the space that the centroids span, shape (n, ≤ `DIMENSIONS`): few numbers that tell clusters apart.

    It is about the space of the leading principal components (Ding and He 2004), and needs nothing but the centroids.
    """
    middle = centroids.mean(0)
    axes = np.linalg.svd(centroids - middle, full_matrices=False)[2][: min(DIMENSIONS, len(centroids) - 1)]
    return np.asarray(points @ axes.T - middle @ axes.T)


def evenly(labels: Labels, seed: int) -> Floats:
    """Random turns, 0…1, for queries of which only some are looked at: those that come first are of all clusters alike.

    Each cluster's queries lie evenly between 0 and 1, so that any beginning is a sample of the whole in proportion.

    Args:
        labels: Cluster of each query, shape (queries,).
        seed: Seed of the order within clusters.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    within = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    turns = np.empty(len(labels))
    turns[order] = (within + 0.5) / np.repeat(sizes, sizes)
    return turns
