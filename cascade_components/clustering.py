"""Clusters of queries: k-means with frozen centroids, and how far a query may lie from them."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from cascade_components.arrays import Floats, Labels


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
        radius_: Distance beyond which a query is out of the map, for each cluster, shape (k,).

    Example:
        >>> clusterer = QueryClusterer(2).fit([[0.0], [0.1], [5.0], [5.1]])
        >>> labels, distances = clusterer.predict([[5.2]])
        >>> bool(labels[0] == clusterer.labels_[2]), round(float(distances[0]), 2)
        (True, 0.15)
    """

    centroids_: Floats
    labels_: Labels
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
        self.centroids_ = self._centroids(points)
        self.labels_, distances = self.predict(points)
        # Distances within a cluster are nearly normal: four spreads beyond the mean is not a query of this kind.
        spread = float(distances.std())
        means = [distances[self.labels_ == cluster].mean() for cluster in range(len(self.centroids_))]
        self.radius_ = np.array(means) + 4 * spread
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
        return max(fits.values(), key=lambda found: silhouette_score(points, nearest(points, found)[0]))

    def _kmeans(self, points: Floats, k: int) -> Floats:
        from sklearn.cluster import KMeans

        return np.asarray(KMeans(k, n_init=self.n_init, random_state=self.seed).fit(points).cluster_centers_)


def nearest(points: Floats, centroids: Floats) -> tuple[Labels, Floats]:
    """The nearest centroid of each point by Euclidean distance, and that distance."""
    squared = (points**2).sum(1)[:, None] - 2 * points @ centroids.T + (centroids**2).sum(1)
    labels = squared.argmin(1)
    return labels, np.sqrt(np.maximum(0.0, squared[np.arange(len(points)), labels]))


DIMENSIONS = 16
"""Most coordinates of a query; more say nothing more about which model is right."""


def coordinates(points: Floats, centroids: Floats) -> Floats:
    """The points in the space that the centroids span, shape (n, ≤ `DIMENSIONS`): few numbers that tell clusters apart.

    It is about the space of the leading principal components (Ding and He 2004), and needs nothing but the centroids.
    """
    middle = centroids.mean(0)
    axes = np.linalg.svd(centroids - middle, full_matrices=False)[2][: min(DIMENSIONS, len(centroids) - 1)]
    return np.asarray((points - middle) @ axes.T)
