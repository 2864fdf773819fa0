"""One training part and one test part, and what all methods share of them: vectors, estimators' scores, inner folds."""

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any
from unittest import mock

import numpy as np
from data import Queries, grouped_folds
from sweeps import Reference

import cascade_components as cc
from cascade_components.arrays import Floats, Labels
from cascade_components.encoders import DistilledEncoder, Encoder

INNER_FOLDS = 4


class Fold:
    """Train and test part; everything that is learned, is learned from the first.

    Args:
        train: Queries to learn from; methods that tune something divide them again (`inner`).
        test: Queries to report on.
        encoder: Text → vectors.
        seed: Seed of everything random.
    """

    def __init__(self, train: Queries, test: Queries, encoder: Encoder, seed: int = 0) -> None:
        self.train, self.test, self.encoder, self.seed = train, test, encoder, seed
        self._fits: dict[str, cc.CascadePolicy] = {}
        self.memo: dict[str, Any] = {}
        """What several rows share."""

    @cached_property
    def static(self) -> "Fold":
        """The same parts, their texts read by static embeddings."""
        return Fold(self.train, self.test, DistilledEncoder(), self.seed)

    @cached_property
    def train_vectors(self) -> Floats:
        """Shape (queries, dim)."""
        return self.encoder(list(self.train.texts)).astype(float)

    @cached_property
    def test_vectors(self) -> Floats:
        """Shape (queries, dim)."""
        return self.encoder(list(self.test.texts)).astype(float)

    @cached_property
    def inner(self) -> Labels:
        """Validation fold of each training query."""
        return grouped_folds(self.train.groups, INNER_FOLDS, seed=self.seed + 1)

    @cached_property
    def strongest(self) -> int:
        """The model of the highest accuracy on the training part; of equals the cheaper."""
        accuracy, cost = self.train.correct.mean(0), self.train.cost.mean(0)
        return int(np.lexsort((cost, -accuracy))[0])

    @cached_property
    def reference(self) -> Reference:
        """The strongest model on the training part."""
        at = self.strongest
        return Reference(float(self.train.correct[:, at].mean()), float(self.train.cost[:, at].mean()))

    @cached_property
    def price(self) -> Floats:
        """Mean cost of each model on the training part, as a share of the dearest's, shape (models,)."""
        mean = self.train.cost.mean(0)
        return np.asarray(mean / mean.max())

    def fit(self, **options: Any) -> cc.CascadePolicy:
        """A policy of this library; each set of options is fitted once."""
        name = repr(sorted(options.items()))
        if name not in self._fits:
            target: Mapping[str, Any] = {} if "retention" in options else {"cost_weight": 0.0}
            with _no_early_release():
                self._fits[name] = cc.fit(
                    self.train.outcomes, encoder=self.encoder, seed=self.seed, progress=False, **target, **options
                )
        return self._fits[name]

    @cached_property
    def judged(self) -> bool:
        """Whether there are answers to judge."""
        return any(text is not None for row in self.train.outputs for text in row)

    @cached_property
    def scores(self) -> tuple[Floats, Floats]:
        """P(correct) of every answer of the training part (out-of-fold) and of the test part, by this library.

        Shapes (queries, models); NaN where there is no answer or no estimator.
        """
        policy = self.fit(gate="error")  # the scores of a gate that weighs the gain are no probabilities
        place = [policy.evidence.models.index(model) for model in self.train.models]
        row_of = {query_id: row for row, query_id in enumerate(policy.evidence.query_ids)}
        rows = [row_of[query_id] for query_id in self.train.ids]
        # An answer that fails a check has a gate's score below every probability.
        return np.maximum(0.0, policy.evidence.scores[rows][:, place, 0]), self.scored(policy, self.test)

    def scored(self, policy: cc.CascadePolicy, queries: Queries) -> Floats:
        """What a policy's estimators say of answers to queries that they have not seen."""
        scores = np.full(queries.correct.shape, np.nan)
        for column, model in enumerate(queries.models):
            estimator = policy.estimator(model)
            rows, texts, answers = queries.answers(column)
            if estimator is None or not len(rows):
                continue
            empty = np.array([not answer.text.strip() for answer in answers])
            scores[rows, column] = np.where(empty, 0.0, estimator.predict_proba(texts, answers))
        return scores

    @cached_property
    def certifies(self) -> bool:
        """Whether `fit` can be asked for a certificate."""
        if "confidence" not in inspect.signature(cc.fit).parameters:
            return False
        try:
            self.fit(quality=None, retention=0.5, confidence=0.95)
        except ValueError as error:
            return "not available" not in str(error)
        return True


def _no_early_release() -> AbstractContextManager[Any]:
    """Early release changes no replay; without the beginnings of answers to read, fits take half the time."""
    return mock.patch("cascade_components.releasing.CHECKPOINTS", (), create=True)
