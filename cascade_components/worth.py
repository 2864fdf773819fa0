"""What an option is worth in each cluster: estimated honestly, from few queries, and tried on queries held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from cascade_components.arrays import Floats, Labels, cluster_moments, nan_mean
from cascade_components.evidence import Evidence
from cascade_components.pool import shrink
from cascade_components.smoothing import Neighbourhood

FOLDS = 5


@dataclass(frozen=True)
class Worth:
    """Worth of options in each cluster, less the ease of its queries.

    How easy a query is is the same for every option, and differs a lot between queries; what options differ by is what
    plans are chosen on, and is small.
    """

    estimate: Floats
    """From all queries, shape (options, clusters)."""
    elsewhere: Floats
    """From the queries outside each fold, shape (folds, options, clusters)."""
    held_out: Floats
    """On the queries inside each fold, summed over these, shape (folds, options, clusters)."""

    @classmethod
    def joined(cls, parts: Sequence[Worth]) -> Self:
        """The options of all parts, one after the other."""
        return cls(
            np.concatenate([part.estimate for part in parts]),
            np.concatenate([part.elsewhere for part in parts], 1),
            np.concatenate([part.held_out for part in parts], 1),
        )


class Scale:
    """Weighs options on the queries of a fit."""

    def __init__(self, evidence: Evidence) -> None:
        self.labels, self.clusters = evidence.labels, evidence.clusters
        of_model = nan_mean(evidence.correct)
        self.ease = np.nan_to_num(nan_mean(of_model - nan_mean(of_model.T)))
        """How much easier than usual each query is, by the models that were asked, shape (queries,)."""
        fold = np.random.default_rng(0).permutation(len(self.labels)) % FOLDS
        self.folds = [np.flatnonzero(fold == number) for number in range(FOLDS)]
        everything, seen = np.arange(len(fold)), [np.flatnonzero(fold != number) for number in range(FOLDS)]
        places = evidence.coordinates if evidence.coordinates.size else np.zeros((len(fold), 0))
        self.parts = [(rows, Neighbourhood(places[rows])) for rows in (everything, *seen)]

    def weigh(self, correct: Floats) -> Worth:
        """Weigh options.

        Args:
            correct: What each gets right of each query, shape (options, queries); NaN where unknown.
        """
        worth = correct - self.ease
        whole, *elsewhere = (self._estimate(worth[:, rows], rows, around) for rows, around in self.parts)
        held_out = [self._sums(worth[:, fold], fold, found) for fold, found in zip(self.folds, elsewhere, strict=True)]
        return Worth(whole, np.array(elsewhere), np.array(held_out))

    def _estimate(self, worth: Floats, rows: Labels, around: Neighbourhood) -> Floats:
        """What the neighbourhood lets expect, and the residuals' cluster means shrunk (empirical Bayes)."""
        expected = around.expected(worth)
        labels = self.labels[rows]
        prior, count, _ = cluster_moments(expected, labels, self.clusters)
        prior = np.where(count > 0, prior, expected.mean(1, keepdims=True))
        return np.asarray(prior + shrink(*cluster_moments(worth - expected, labels, self.clusters)))

    def _sums(self, worth: Floats, rows: Labels, expected: Floats) -> Floats:
        """Worth on some queries, summed in each cluster; what is expected where nothing is known."""
        mean, count, _ = cluster_moments(worth, self.labels[rows], self.clusters)
        queries = np.bincount(self.labels[rows], minlength=self.clusters)
        return np.asarray(np.where(count > 0, np.nan_to_num(mean), expected) * queries)
