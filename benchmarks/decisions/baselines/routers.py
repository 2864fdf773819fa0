"""Routers that read the query alone: estimate each model's accuracy, then take the best accuracy − λ · price.

They differ in the estimate. How it is set up (k, or the penalty) is chosen on the training part by cross-validation,
and so is λ for a target: estimates there come from copies that have not seen the query.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from fold import INNER_FOLDS, Fold
from sweeps import COST_WEIGHTS, Replayed, Sweep, by_model, swept

from cascade_components.arrays import Floats, Labels

Estimate = Callable[[Floats], Floats]
"""Vectors, shape (queries, dim) → expected accuracy of each model, shape (queries, models)."""

Learn = Callable[[Floats, Floats, Any, int], Estimate]
"""Vectors, correct (queries, models), setting, seed → estimate."""

TIMED = 200


@dataclass(frozen=True)
class Learned:
    """An estimate on a fold, set up by cross-validation."""

    setting: Any
    out_of_fold: Floats
    """Of the training queries."""
    tested: Floats
    """Of the test queries."""
    estimate: Estimate


def learn(fold: Fold, method: Learn, settings: Sequence[Any]) -> Learned:
    """Choose the setting of highest held-out utility, summed over λ; then learn from the whole training part."""
    held_out = {setting: out_of_fold(fold, method, setting) for setting in settings}
    best = max(settings, key=lambda setting: utility(held_out[setting], fold))
    estimate = method(fold.train_vectors, fold.train.correct, best, fold.seed)
    return Learned(best, held_out[best], estimate(fold.test_vectors), estimate)


def out_of_fold(fold: Fold, method: Learn, setting: Any) -> Floats:
    """Estimates of training queries by copies that have not seen them."""
    found = np.empty_like(fold.train.correct)
    for number in range(INNER_FOLDS):
        seen, unseen = fold.inner != number, fold.inner == number
        estimate = method(fold.train_vectors[seen], fold.train.correct[seen], setting, fold.seed)
        found[unseen] = estimate(fold.train_vectors[unseen])
    return found


def utility(estimated: Floats, fold: Fold) -> float:
    """Accuracy − λ · cost on the training queries, summed over the λ that matter."""
    share = fold.train.cost / fold.train.cost.mean(0).max()
    total = 0.0
    for weight in COST_WEIGHTS[COST_WEIGHTS <= 0.5]:
        accuracy, cost = by_model(fold.train.correct, share, (estimated - weight * fold.price).argmax(1))
        total += float(accuracy.mean() - weight * cost.mean())
    return total


def route(fold: Fold, learned: Learned, note: str) -> Sweep:
    """Sweep λ."""
    weights = COST_WEIGHTS

    def chosen(estimated: Floats, weight: float) -> Labels:
        return np.asarray((estimated - weight * fold.price).argmax(1))

    def trained(weight: float) -> Replayed:
        return by_model(fold.train.correct, fold.train.cost, chosen(learned.out_of_fold, weight))

    def replay(point: int) -> Replayed:
        return by_model(fold.test.correct, fold.test.cost, chosen(learned.tested, weights[point]))

    on_train = [trained(weight) for weight in weights]
    return swept(
        np.array([accuracy.mean() for accuracy, _ in on_train]),
        np.array([cost.mean() for _, cost in on_train]),
        fold.reference,
        replay,
        range(len(weights)),
        decision_us=_decision_us(fold, learned.estimate),
        note=note,
    )


def _decision_us(fold: Fold, estimate: Estimate) -> float:
    queries = fold.test_vectors[:TIMED]
    start = perf_counter()
    for query in queries:
        (estimate(query[None]) - 0.1 * fold.price).argmax(1)
    return 1e6 * (perf_counter() - start) / len(queries)


# — UniRoute (arXiv 2502.08773): a model is the vector of its errors in k-means clusters —


def kmeans_table(vectors: Floats, correct: Floats, k: int, seed: int) -> tuple[Floats, Floats]:
    """Centroids, and each model's mean in each cluster, shape (clusters, models); an empty cluster has the mean."""
    from sklearn.cluster import KMeans

    found = KMeans(min(k, len(vectors)), n_init=3, random_state=seed).fit(vectors)
    member = np.eye(len(found.cluster_centers_))[found.labels_]
    count = member.sum(0)[:, None]
    mean = np.where(count > 0, member.T @ correct / np.maximum(count, 1), correct.mean(0))
    return found.cluster_centers_, mean


CLUSTERS = (2, 4, 8, 16, 32, 64)


def _uniroute(vectors: Floats, correct: Floats, setting: int, seed: int) -> Estimate:
    centroids, mean = kmeans_table(vectors, correct, setting, seed)
    return lambda queries: mean[_distances(queries, centroids).argmin(1)]


def uniroute(fold: Fold) -> Sweep:
    """UniRoute with k-means."""
    learned = learn(fold, _uniroute, CLUSTERS)
    return route(fold, learned, f"k = {learned.setting}")


# — k nearest neighbours (arXiv 2505.12601) —


NEIGHBOURS = (10, 20, 50, 100, 200, 400)


def _nearest(vectors: Floats, correct: Floats, setting: int, _seed: int) -> Estimate:
    k = min(setting, len(vectors))

    def estimate(queries: Floats) -> Floats:
        near = np.argpartition(-(queries @ vectors.T), k - 1, axis=1)[:, :k]
        return np.asarray(correct[near].mean(1))

    return estimate


def neighbours(fold: Fold) -> Sweep:
    """The mean of the k nearest training queries by cosine."""
    learned = learn(fold, _nearest, NEIGHBOURS)
    return route(fold, learned, f"k = {learned.setting}")


# — logistic regression on the query's vector, one for each model (as CARROT, arXiv 2502.03261) —


def logistic(vectors: Floats, correct: Floats, setting: float, _seed: int) -> Estimate:
    """Expected accuracy of each model; soft labels count as right with their credit and as wrong with the rest."""
    models = [_logistic(vectors, column, setting) for column in correct.T]
    return lambda queries: np.stack([model(queries) for model in models], 1)


def _logistic(vectors: Floats, label: Floats, inverse_penalty: float) -> Callable[[Floats], Floats]:
    from sklearn.linear_model import LogisticRegression

    if label.min() == label.max():
        return lambda queries: np.full(len(queries), label[0])
    soft = (label > 0) & (label < 1)
    inputs = np.concatenate([vectors, vectors[soft]])
    weight = np.concatenate([np.where(soft, 1 - label, 1.0), label[soft]])
    kind = np.concatenate([(label == 1).astype(int), np.ones(soft.sum(), int)])
    model = LogisticRegression(C=inverse_penalty, max_iter=500).fit(inputs, kind, sample_weight=weight)
    return lambda queries: np.asarray(model.predict_proba(queries)[:, 1])


PENALTIES = (0.02, 0.1, 0.5, 2.0)


def logistic_routing(fold: Fold) -> Sweep:
    """A logistic regression for each model."""
    learned = learn(fold, logistic, PENALTIES)
    return route(fold, learned, f"C = {learned.setting}")


ESTIMATES: dict[str, tuple[Learn, tuple[Any, ...]]] = {
    "k-means": (_uniroute, CLUSTERS),
    "nearest neighbours": (_nearest, NEIGHBOURS),
    "logistic regression": (logistic, PENALTIES),
}


def _distances(queries: Floats, centroids: Floats) -> Floats:
    return np.asarray((centroids**2).sum(1) - 2 * queries @ centroids.T)
