"""What needs no router: one model for everything, a random mix of models, and the oracle."""

import numpy as np
from fold import Fold
from metrics import upper_hull
from sweeps import COST_WEIGHTS, Sweep, by_model, swept

MIXES = 41


def always(fold: Fold, model: int) -> Sweep:
    """One model for every query."""
    return Sweep(fold.test.correct[:, [model]].T, fold.test.cost[:, [model]].T)


def random_mix(fold: Fold) -> Sweep:
    """Models on the hull of the training data, mixed at random: what a router has to beat. Expected values."""
    cost, accuracy = fold.train.cost.mean(0), fold.train.correct.mean(0)
    hull_cost, hull_accuracy = upper_hull(cost, accuracy)
    vertices = zip(hull_cost, hull_accuracy, strict=True)
    corners = [int(np.flatnonzero((cost == c) & (accuracy == a))[0]) for c, a in vertices]
    shares = np.linspace(hull_cost[0], hull_cost[-1], MIXES)
    # Row j: how much of each corner the mix has that costs shares[j].
    weights = np.stack([np.interp(shares, hull_cost, one) for one in np.eye(len(corners))], 1)
    corner_accuracy, corner_cost = fold.test.correct[:, corners].T, fold.test.cost[:, corners].T
    return swept(
        weights @ accuracy[corners],
        weights @ cost[corners],
        fold.reference,
        lambda mix: (weights[mix] @ corner_accuracy, weights[mix] @ corner_cost),
        range(MIXES),
    )


def oracle(fold: Fold) -> Sweep:
    """The model that would have served each query best, known beforehand; at λ → 0 the cheapest that is right."""
    share = fold.test.cost / fold.reference.cost
    points = []
    for weight in COST_WEIGHTS:
        value = fold.test.correct - max(weight, 1e-9) * share
        points.append(by_model(fold.test.correct, fold.test.cost, value.argmax(1)))
    return Sweep(np.stack([accuracy for accuracy, _ in points]), np.stack([cost for _, cost in points]))
