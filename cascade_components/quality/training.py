"""Out-of-fold scores: an estimator's opinion of answers that it was not trained on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_components.answers import Answer
from cascade_components.arrays import Floats, Labels
from cascade_components.cascade import QualityEstimator

FOLDS = 5


@runtime_checkable
class Trainable(Protocol):
    """A quality estimator that learns from correctness labels."""

    def fit(self, queries: Sequence[str], answers: Sequence[Answer], correct: ArrayLike, /) -> Any:
        """Learn from answers and what they were worth, 0…1."""
        ...


@dataclass(frozen=True)
class OutOfFold:
    """A trained estimator, and what copies of it say of the answers whose queries they have not seen."""

    estimator: QualityEstimator
    """Trained on everything."""
    scores: Floats
    """Of each training answer, by the copy that has not seen its query, shape (n,)."""
    copies: tuple[QualityEstimator, ...]
    fold: Labels
    """Which copy has not seen each answer's query, shape (n,)."""

    def read(self, rows: Labels, queries: Sequence[str], answers: Sequence[Answer]) -> Floats:
        """Score other answers to the queries of some training answers, by the copies that have not seen them.

        Args:
            rows: For each answer, which training answer it belongs to, shape (n,).
            queries: Texts, one for each answer.
            answers: The answers.
        """
        scores = np.empty(len(rows))
        for number, copy_ in enumerate(self.copies):
            unseen = np.flatnonzero(self.fold[rows] == number)
            if unseen.size:
                scores[unseen] = scores_of(copy_, *_rows(queries, answers, unseen))
        return scores

    def only(self, rows: Labels) -> OutOfFold:
        """The same estimator and copies, for some of the training answers."""
        return replace(self, scores=self.scores[rows], fold=self.fold[rows])


def train_out_of_fold(
    estimator: QualityEstimator,
    queries: Sequence[str],
    answers: Sequence[Answer],
    correct: ArrayLike,
    groups: Sequence[int],
    *,
    seed: int = 0,
) -> OutOfFold:
    """Train an estimator on everything, and score each answer by a copy that has not seen its query.

    Args:
        estimator: Unfitted; it is copied, never changed. One without `fit` is used as it is.
        queries: Texts, one for each answer.
        answers: Answers of one model.
        correct: 0…1, shape (n,).
        groups: Number of each answer's query: all runs of a query share a fold.
        seed: Seed of the folds.

    Raises:
        ValueError: The estimator's scores have another shape, or lie outside [0, 1].
    """
    label = np.asarray(correct, float)
    if not isinstance(estimator, Trainable):
        scores = scores_of(estimator, queries, answers)
        return OutOfFold(estimator, scores, (estimator,), np.zeros(len(label), np.intp))
    names = np.unique(groups)
    fold_of = dict(zip(names, np.random.default_rng(seed).permutation(len(names)) % FOLDS, strict=True))
    fold = np.array([fold_of[group] for group in groups], np.intp)
    rows = np.arange(len(label))
    whole = _trained(estimator, queries, answers, label, rows)
    # What the estimator chose for itself on all answers (a penalty) is not chosen again by each copy.
    settled = getattr(whole, "settled", lambda: estimator)()
    seen = [np.flatnonzero(fold != number) for number in range(min(FOLDS, len(names)))]
    copies = tuple(_trained(settled, queries, answers, label, part) for part in seen)
    found = OutOfFold(whole, label, copies, fold)
    return replace(found, scores=found.read(rows, queries, answers))


def scores_of(estimator: QualityEstimator, queries: Sequence[str], answers: Sequence[Answer]) -> Floats:
    """The estimator's scores, checked.

    Raises:
        ValueError: They have another shape than (n,), or lie outside [0, 1].
    """
    scores = np.asarray(estimator.predict_proba(queries, answers), float)
    if scores.shape != (len(answers),) or not ((scores >= 0) & (scores <= 1)).all():
        msg = f"predict_proba of {type(estimator).__name__} must return {len(answers)} probabilities in [0, 1], "
        raise ValueError(msg + f"found shape {scores.shape}, from {np.min(scores)} to {np.max(scores)}.")
    return scores


def _trained(
    estimator: QualityEstimator, queries: Sequence[str], answers: Sequence[Answer], label: Floats, rows: NDArray[Any]
) -> QualityEstimator:
    fresh = copy.deepcopy(estimator)
    if isinstance(fresh, Trainable):
        fresh.fit(*_rows(queries, answers, rows), label[rows])
    return fresh


def _rows(queries: Sequence[str], answers: Sequence[Answer], rows: NDArray[Any]) -> tuple[list[str], list[Answer]]:
    return [queries[int(row)] for row in rows], [answers[int(row)] for row in rows]
