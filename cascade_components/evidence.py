"""What a fit saw of each query: the arrays that plans are computed from, kept in the policy."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cascade_components.arrays import Floats, Labels, nan_mean


@dataclass(frozen=True)
class Evidence:
    """Per-query outcomes of the fit; arrays have the shape (queries, models, runs), NaN where unknown.

    It lets `add_model` join a new model's outcomes to those of the fit; it holds no text.
    """

    models: tuple[str, ...]
    """The ladder: weakest model first."""
    query_ids: tuple[str, ...]
    labels: Labels
    """Cluster of each query, shape (queries,)."""
    correct: Floats
    cost: Floats
    """Under the policy's metric, as measured."""
    output_tokens: Floats
    scores: Floats
    """What gates compare with their thresholds, by an estimator that had not seen the answer."""
    coordinates: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """Place of each query among the clusters, shape (queries, dim); without dimensions: not known."""
    distances: Floats = field(default_factory=lambda: np.zeros(0))
    """Euclidean distance of each query to the nearest centroid, as far as one that was not fitted on would be, shape
    (queries,)."""
    p_correct: Floats = field(default_factory=lambda: np.zeros(0))
    """P(correct) of each answer as traces tell it, by an estimator that had not seen the answer: `scores` without what
    gates add to it."""

    def __post_init__(self) -> None:
        # What was not given is not known.
        for name, shape in (("distances", self.labels.shape), ("p_correct", self.scores.shape)):
            if not getattr(self, name).size:
                object.__setattr__(self, name, np.full(shape, np.nan))

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return int(self.labels.max()) + 1

    @property
    def sizes(self) -> Floats:
        """Queries in each cluster."""
        return np.bincount(self.labels, minlength=self.clusters).astype(float)

    @property
    def accuracy(self) -> Floats:
        """Mean accuracy of each model over the queries it was run on, shape (models,)."""
        return nan_mean(nan_mean(self.correct).T)

    def ordered(self) -> Evidence:
        """The same evidence with the models from weakest to strongest; of equals the cheaper counts as stronger."""
        cost = nan_mean(nan_mean(self.cost).T)
        order = sorted(range(len(self.models)), key=lambda m: (self.accuracy[m], -cost[m], self.models[m]))
        return self.only(tuple(self.models[m] for m in order))

    def only(self, models: tuple[str, ...]) -> Evidence:
        """The evidence on some of the models, in the order given."""
        at = [self.models.index(model) for model in models]
        return Evidence(
            models,
            self.query_ids,
            self.labels,
            self.correct[:, at],
            self.cost[:, at],
            self.output_tokens[:, at],
            self.scores[:, at],
            self.coordinates,
            self.distances,
            self.p_correct[:, at],
        )

    def joined(self, other: Evidence) -> Evidence:
        """This evidence with that of one more model; queries that are new get rows of their own."""
        at = {query_id: row for row, query_id in enumerate(self.query_ids)}
        added = [row for row, query_id in enumerate(other.query_ids) if query_id not in at]
        at |= {other.query_ids[row]: len(at) + number for number, row in enumerate(added)}
        rows = [at[query_id] for query_id in other.query_ids]
        runs = max(self.correct.shape[2], other.correct.shape[2])

        def both(before: Floats, new: Floats) -> Floats:
            whole = np.full((len(at), len(self.models) + 1, runs), np.nan)
            whole[: len(before), :-1, : before.shape[2]] = before
            whole[rows, -1, : new.shape[2]] = new[:, 0]
            return whole

        names = ("correct", "cost", "output_tokens", "scores", "p_correct")
        return Evidence(
            models=(*self.models, *other.models),
            query_ids=tuple(at),
            labels=np.concatenate([self.labels, other.labels[added]]),
            coordinates=np.concatenate([self.coordinates, other.coordinates[added]]),
            distances=np.concatenate([self.distances, other.distances[added]]),
            **{name: both(getattr(self, name), getattr(other, name)) for name in names},
        )
