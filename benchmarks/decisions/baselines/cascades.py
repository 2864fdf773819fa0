"""Cascades of fixed lists of models: FrugalGPT, and UCCI's calibrated threshold.

Both read the scores that this library's estimators give to answers: out-of-fold on the training part. Lists and
thresholds are searched there for the highest accuracy within a budget, which is the knob. An answer that was not
recorded, or whose model has no estimator, cannot be judged, and stands.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from fold import Fold
from sweeps import Replayed, Sweep, swept

from cascade_components.arrays import Floats, Labels

MOST_MODELS = 8
STEPS = 24
"""Thresholds tried for each stage: quantiles of the scores, and never to accept."""


@dataclass(frozen=True)
class Candidate:
    """A list of models with the threshold of each but the last."""

    models: tuple[int, ...]
    thresholds: tuple[float, ...]


def frugal(fold: Fold, depth: int = 3) -> Sweep | None:
    """FrugalGPT (arXiv 2305.05176): ordered lists of up to three models, all orders, each with its thresholds."""
    if not fold.judged:
        return None
    scores, tested = fold.scores
    rows = np.arange(len(fold.train))
    lists = [order for length in range(1, depth + 1) for order in permutations(contenders(fold), length)]
    return _searched(fold, lists, (scores, rows), tested, f"lists of up to {depth}")


def calibrated_threshold(fold: Fold) -> Sweep | None:
    """UCCI (arXiv 2605.18796): isotonic calibration of a pair's score on one half, the threshold from the other half.

    The pair is searched with the threshold; UCCI is given one.
    """
    if not fold.judged:
        return None
    from sklearn.isotonic import IsotonicRegression

    scores, tested = (part.copy() for part in fold.scores)
    calibration = fold.inner % 2 == 0
    for model in range(scores.shape[1]):
        known = ~np.isnan(scores[:, model])
        if not known[calibration].any():
            continue
        isotonic = IsotonicRegression(out_of_bounds="clip")
        isotonic.fit(scores[known & calibration, model], fold.train.correct[known & calibration, model])
        for part in (scores, tested):
            judged = ~np.isnan(part[:, model])
            part[judged, model] = isotonic.predict(part[judged, model])
    models = contenders(fold)
    pairs = [pair for pair in permutations(models, 2) if fold.price[pair[0]] < fold.price[pair[1]]]
    lists = [*((model,) for model in models), *pairs]
    return _searched(fold, lists, (scores, np.flatnonzero(~calibration)), tested, "pairs")


def contenders(fold: Fold) -> list[int]:
    """The models that lists are made of; of a large pool those on the Pareto front first, then the most accurate."""
    accuracy, cost = fold.train.correct.mean(0), fold.train.cost.mean(0)
    on_front = [
        model
        for model in range(len(cost))
        if not any(accuracy[other] >= accuracy[model] and cost[other] < cost[model] for other in range(len(cost)))
    ]
    others = [model for model in np.argsort(-accuracy) if model not in on_front]
    return sorted([*sorted(on_front, key=lambda m: -accuracy[m]), *others][:MOST_MODELS])


def _searched(
    fold: Fold, lists: list[tuple[int, ...]], trained: tuple[Floats, Labels], tested: Floats, note: str
) -> Sweep:
    scores, rows = trained
    shown = scores[rows], fold.train.correct[rows], fold.train.cost[rows]
    candidates, accuracy, cost = [], [], []
    for models in lists:
        for candidate, right, spent in _candidates(models, *shown):
            candidates.append(candidate)
            accuracy.append(right)
            cost.append(spent)

    def replay(point: int) -> Replayed:
        return run(candidates[point], tested, fold.test.correct, fold.test.cost)

    return swept(np.array(accuracy), np.array(cost), fold.reference, replay, note=note)


def _candidates(
    models: tuple[int, ...], scores: Floats, correct: Floats, cost: Floats
) -> Iterator[tuple[Candidate, float, float]]:
    """Every combination of thresholds, with its accuracy and cost; at most two thresholds."""
    if len(models) == 1:
        yield Candidate(models, ()), float(correct[:, models[0]].mean()), float(cost[:, models[0]].mean())
        return
    first, second = models[0], models[1]
    bars, rejected = _rejections(scores[:, first])
    if len(models) == 2:
        right = (correct[:, first] + rejected * (correct[:, second] - correct[:, first])).mean(1)
        spent = (cost[:, first] + rejected * cost[:, second]).mean(1)
        yield from (
            (Candidate(models, (float(bar),)), float(a), float(c)) for bar, a, c in zip(bars, right, spent, strict=True)
        )
        return
    third = models[2]
    more_bars, again = _rejections(scores[:, second])
    count = len(correct)
    right = (
        correct[:, first].mean()
        + (rejected @ (correct[:, second] - correct[:, first]) / count)[:, None]
        + rejected @ (again * (correct[:, third] - correct[:, second])).T / count
    )
    spent = (
        cost[:, first].mean()
        + (rejected @ cost[:, second] / count)[:, None]
        + rejected @ (again * cost[:, third]).T / count
    )
    for i, bar in enumerate(bars):
        for j, other in enumerate(more_bars):
            yield Candidate(models, (float(bar), float(other))), float(right[i, j]), float(spent[i, j])


def _rejections(scores: Floats) -> tuple[Floats, Floats]:
    """Thresholds, and which answers fall below each, shape (thresholds, queries)."""
    known = scores[~np.isnan(scores)]
    if not known.size:
        return np.array([-np.inf]), np.zeros((1, len(scores)))
    levels = np.quantile(known, np.arange(1, STEPS) / STEPS, method="higher")
    bars = np.unique(np.concatenate([levels, [np.inf]]))
    return bars, (np.where(np.isnan(scores), np.inf, scores) < bars[:, None]).astype(float)


def run(candidate: Candidate, scores: Floats, correct: Floats, cost: Floats) -> Replayed:
    """Accuracy and cost of each query under one cascade."""
    first = candidate.models[0]
    right, spent = correct[:, first].copy(), cost[:, first].copy()
    open_ = np.ones(len(right), bool)
    for before, bar, model in zip(candidate.models, candidate.thresholds, candidate.models[1:], strict=False):
        open_ = open_ & (np.where(np.isnan(scores[:, before]), np.inf, scores[:, before]) < bar)
        right[open_] = correct[open_, model]
        spent[open_] += cost[open_, model]
    return right, spent
