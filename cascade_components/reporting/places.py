"""The clusters as people know them: their names, where they lie, and where answers go wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cascade_components.arrays import Floats, Labels, nan_mean
from cascade_components.encoders import encode_with_progress
from cascade_components.evaluation import ClusterEvaluation, Replay
from cascade_components.policy import CascadePolicy
from cascade_components.reporting.words import typical_words

MOST_DOTS = 800
"""Queries that are drawn on the map."""

WORST, EXAMPLES, FEWEST = 4, 3, 5
"""Clusters shown as the worst, questions of each, and how many queries a cluster must have to count as one."""


@dataclass(frozen=True)
class ClusterMap:
    """Queries and centroids on the plane of the queries' two principal components."""

    centroids: Floats
    """Shape (clusters, 2)."""
    queries: Floats
    """A sample of them, shape (n, 2)."""
    labels: Labels
    """Cluster of each; −1: out of the map."""
    shown: float
    """Share of the variance that the plane keeps."""


@dataclass(frozen=True)
class Example:
    """A question whose answer was wrong."""

    query: str
    right: tuple[str, ...]
    """The models that got it right."""


@dataclass(frozen=True)
class WorstCluster:
    """A cluster with many wrong answers."""

    cluster: int
    queries: int
    accuracy: float
    strongest_accuracy: float
    """Of the strongest model on the same queries."""
    examples: tuple[Example, ...]


def cluster_words(policy: CascadePolicy, replay: Replay) -> list[tuple[str, ...]]:
    """The typical words of each cluster, from the queries that were replayed: a policy holds no text."""
    return typical_words(replay.table.queries, replay.labels, len(policy.centroids))


def cluster_map(policy: CascadePolicy, replay: Replay) -> ClusterMap:
    """Project queries and centroids onto a plane."""
    from sklearn.decomposition import PCA

    vectors = encode_with_progress(policy.encoder, replay.table.queries, "queries", progress=False).astype(float)
    together = np.concatenate([vectors, policy.centroids])
    plane = PCA(min(2, *together.shape), random_state=0).fit(together)
    flat = np.zeros((len(together), 2))
    flat[:, : plane.n_components_] = plane.transform(together)
    sample = np.random.default_rng(policy.seed).permutation(len(vectors))[:MOST_DOTS]
    shown = float(np.nan_to_num(plane.explained_variance_ratio_).sum())
    return ClusterMap(flat[len(vectors) :], flat[sample], replay.labels[sample], shown)


def worst_clusters(policy: CascadePolicy, replay: Replay, found: tuple[ClusterEvaluation, ...]) -> list[WorstCluster]:
    """The clusters of least accuracy, with questions that were answered wrong: first those that a model got right."""
    whole = [row for row in found if row.cluster is not None]
    enough = [row for row in whole if row.queries >= FEWEST] or whole
    right = nan_mean(replay.correct)
    columns = replay.columns(policy, policy.every_plan)
    worst = []
    for row in sorted(enough, key=lambda row: row.accuracy)[:WORST]:
        queries = np.flatnonzero((replay.labels == row.cluster) & ~np.isnan(columns["accuracy"]))
        strongest = float(nan_mean(right[queries, -1]))
        wrong = queries[columns["accuracy"][queries] < 0.5]
        order = sorted(wrong, key=lambda query: -int((right[query] >= 0.5).sum()))[:EXAMPLES]
        examples = tuple(_example(policy, replay, right, query) for query in order)
        worst.append(WorstCluster(int(row.cluster or 0), row.queries, row.accuracy, strongest, examples))
    return worst


def _example(policy: CascadePolicy, replay: Replay, right: Floats, query: int) -> Example:
    models = tuple(model for model, value in zip(policy.models, right[query], strict=True) if value >= 0.5)
    return Example(replay.table.queries[query], models)
