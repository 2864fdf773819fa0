"""A classifier of queries and a threshold between two models: HybridLLM (arXiv 2404.14618), RouteLLM (2406.18665).

Here the classifier is a logistic regression on the query's vector; its labels are HybridLLM's deterministic ones: the
weak model will do where it is at least as good as the strong one. Of a larger pool the strongest model and one cheaper
are used, whichever does best on validation.
"""

import numpy as np
from fold import INNER_FOLDS, Fold
from metrics import deferral_auc
from sweeps import Sweep, by_model, swept

from baselines.routers import PENALTIES, logistic
from cascade_components.arrays import Floats

SHARES = np.linspace(0, 1, 51)
"""Shares of the queries that go to the strong model: the knob."""


def threshold_router(fold: Fold) -> Sweep | None:
    """Sweep the threshold; the pair and the penalty are chosen on validation."""
    strong = fold.strongest
    price = fold.price
    weaker = [model for model in range(len(price)) if price[model] < price[strong]]
    if not weaker:
        return None  # the strongest model is the cheapest: there is nothing to route
    candidates = [(weak, penalty) for weak in weaker for penalty in (PENALTIES if len(weaker) < 3 else PENALTIES[1:2])]
    held_out = {pair: _held_out(fold, *pair) for pair in candidates}

    def worth(pair: tuple[int, float]) -> float:
        accuracy, cost, _ = _curve(fold, pair[0], held_out[pair])
        low, high = fold.train.cost.mean(0).min(), fold.reference.cost
        return float(deferral_auc(np.append(cost, low), np.append(accuracy, 0.0), low, high))

    weak, penalty = max(candidates, key=worth)
    accuracy, cost, thresholds = _curve(fold, weak, held_out[weak, penalty])
    model = logistic(fold.train_vectors, _needs(fold, weak)[:, None], penalty, fold.seed)
    needs_strong = model(fold.test_vectors)[:, 0]
    return swept(
        accuracy,
        cost,
        fold.reference,
        lambda point: by_model(
            fold.test.correct, fold.test.cost, np.where(needs_strong >= thresholds[point], strong, weak)
        ),
        range(len(SHARES)),
        note=f"{fold.train.models[weak]} and {fold.train.models[strong]}, C = {penalty}",
    )


def _needs(fold: Fold, weak: int) -> Floats:
    return np.asarray(fold.train.correct[:, weak] < fold.train.correct[:, fold.strongest], float)


def _held_out(fold: Fold, weak: int, penalty: float) -> Floats:
    label, found = _needs(fold, weak)[:, None], np.empty(len(fold.train))
    for number in range(INNER_FOLDS):
        seen, unseen = fold.inner != number, fold.inner == number
        model = logistic(fold.train_vectors[seen], label[seen], penalty, fold.seed)
        found[unseen] = model(fold.train_vectors[unseen])[:, 0]
    return found


def _curve(fold: Fold, weak: int, needs_strong: Floats) -> tuple[Floats, Floats, Floats]:
    """Accuracy, cost and threshold on the training part for each share of strong calls."""
    thresholds = np.quantile(needs_strong, 1 - SHARES)
    thresholds[0] = np.inf
    points = [
        by_model(fold.train.correct, fold.train.cost, np.where(needs_strong >= threshold, fold.strongest, weak))
        for threshold in thresholds
    ]
    return np.array([a.mean() for a, _ in points]), np.array([c.mean() for _, c in points]), thresholds
