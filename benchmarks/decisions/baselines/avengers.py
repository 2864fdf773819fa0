"""Avengers-Pro (arXiv 2508.12631): clusters vote for models by accuracy and cheapness, each scaled within its range.

Score of a model: Σ over the four nearest of k clusters of α · accuracy + (1 − α) · (1 − cost), both scaled to 0…1
within the cluster over the models. The knob is α. The paper's k is 60; fewer where cross-validation says so.
"""

import numpy as np
from fold import INNER_FOLDS, Fold
from sweeps import Sweep, by_model, swept

from baselines.routers import kmeans_table
from cascade_components.arrays import Floats, Labels

CLUSTERS = (16, 32, 60)
NEAREST = 4
ALPHAS = np.linspace(0, 1, 51)


def avengers_pro(fold: Fold) -> Sweep:
    """Sweep α; k is the one of highest held-out accuracy over all α at the cost it takes."""
    train, test = fold.train, fold.test
    chosen: dict[int, Labels] = {}
    for k in CLUSTERS:
        chosen[k] = np.empty((len(ALPHAS), len(train)), np.intp)
        for number in range(INNER_FOLDS):
            seen, unseen = fold.inner != number, fold.inner == number
            chosen[k][:, unseen] = _choices(
                fold.train_vectors[seen],
                train.correct[seen],
                train.cost[seen],
                fold.train_vectors[unseen],
                k,
                fold.seed,
            )
    held_out = {k: [by_model(train.correct, train.cost, row) for row in rows] for k, rows in chosen.items()}
    means = {k: np.array([(a.mean(), c.mean()) for a, c in rows]).T for k, rows in held_out.items()}
    best = max(CLUSTERS, key=lambda k: float(np.mean(means[k][0] - 0.1 * means[k][1] / fold.reference.cost)))
    tested = _choices(fold.train_vectors, train.correct, train.cost, fold.test_vectors, best, fold.seed)
    accuracy, cost = means[best]
    return swept(
        accuracy,
        cost,
        fold.reference,
        lambda point: by_model(test.correct, test.cost, tested[point]),
        range(len(ALPHAS)),
        note=f"k = {best}",
    )


def _choices(vectors: Floats, correct: Floats, cost: Floats, queries: Floats, k: int, seed: int) -> Labels:
    """The model for each α and query, shape (α, queries)."""
    models = correct.shape[1]
    centroids, both = kmeans_table(vectors, np.concatenate([correct, cost], 1), k, seed)
    accuracy, price = _scaled(both[:, :models]), _scaled(both[:, models:])
    near = ((centroids**2).sum(1) - 2 * queries @ centroids.T).argsort(1)[:, :NEAREST]
    good, cheap = accuracy[near].sum(1), (1 - price)[near].sum(1)
    return np.stack([(alpha * good + (1 - alpha) * cheap).argmax(1) for alpha in ALPHAS])


def _scaled(values: Floats) -> Floats:
    low, high = values.min(1, keepdims=True), values.max(1, keepdims=True)
    return np.asarray((values - low) / np.where(high > low, high - low, 1.0))
