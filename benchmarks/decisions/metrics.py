"""What a curve of operating points is worth. Pure functions; the last axis holds the points, in the order of the knob.

Neighbouring points are joined by straight lines: a system that takes one of them for a share of its queries, drawn at
random, and the other for the rest lies on that line. Leading axes are bootstrap draws.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from cascade_components.arrays import Floats

DRAWS = 1000
LEVELS = (0.025, 0.975)
ROUNDING = 1e-9
"""Means of equal columns may differ by less."""


def cost_to_reach(cost: ArrayLike, accuracy: ArrayLike, wanted: ArrayLike) -> Floats:
    """The lowest cost at which the curve reaches an accuracy; infinite where it never does.

    >>> round(float(cost_to_reach([1.0, 3.0], [0.5, 0.9], 0.7)), 6)
    2.0
    >>> float(cost_to_reach([1.0, 3.0, 2.0], [0.5, 0.9, 0.9], 0.9)), float(cost_to_reach([1.0], [0.5], 0.6))
    (2.0, inf)
    """
    cost, accuracy = np.asarray(cost, float), np.asarray(accuracy, float)
    wanted = np.asarray(wanted, float)[..., None] - ROUNDING
    reached = np.where(accuracy >= wanted, cost, np.inf).min(-1)
    before, after = accuracy[..., :-1], accuracy[..., 1:]
    crosses = (before < wanted) != (after < wanted)
    share = (wanted - before) / np.where(crosses, after - before, 1.0)
    crossing = cost[..., :-1] + share * (cost[..., 1:] - cost[..., :-1])
    return np.asarray(np.minimum(reached, np.where(crosses, crossing, np.inf).min(-1, initial=np.inf)))


def best_within(cost: ArrayLike, accuracy: ArrayLike, budgets: ArrayLike) -> Floats:
    """The highest accuracy that the curve has at or below each cost; NaN below its cheapest point.

    Args:
        cost: Shape (..., points).
        accuracy: Same shape.
        budgets: Shape (..., budgets).

    >>> best_within([1.0, 3.0], [0.5, 0.9], [0.5, 1.0, 2.0, 9.0]).tolist()
    [nan, 0.5, 0.7, 0.9]
    """
    cost, accuracy = np.asarray(cost, float)[..., None, :], np.asarray(accuracy, float)[..., None, :]
    budget = np.asarray(budgets, float)[..., None]
    best = np.where(cost <= budget, accuracy, -np.inf).max(-1)
    first, second = (cost[..., :-1], accuracy[..., :-1]), (cost[..., 1:], accuracy[..., 1:])
    crosses = (first[0] <= budget) != (second[0] <= budget)
    share = (budget - first[0]) / np.where(crosses, second[0] - first[0], 1.0)
    crossing = first[1] + share * (second[1] - first[1])
    best = np.maximum(best, np.where(crosses, crossing, -np.inf).max(-1, initial=-np.inf))
    return np.where(np.isfinite(best), best, np.nan)


def deferral_auc(cost: ArrayLike, accuracy: ArrayLike, low: ArrayLike, high: ArrayLike, *, grid: int = 101) -> Floats:
    """Mean of the best accuracy within a budget, over budgets from `low` to `high` (UniRoute, arXiv 2502.08773).

    Below the curve's cheapest point its accuracy there counts.

    >>> round(float(deferral_auc([1.0, 3.0], [0.5, 0.9], 1.0, 3.0)), 3)
    0.7
    """
    low, high = np.asarray(low, float)[..., None], np.asarray(high, float)[..., None]
    budgets = low + (high - low) * np.linspace(0, 1, grid)
    best = best_within(cost, accuracy, budgets)
    cheapest = np.take_along_axis(np.asarray(accuracy, float), np.asarray(cost, float).argmin(-1)[..., None], -1)
    return np.asarray(np.trapezoid(np.where(np.isnan(best), cheapest, best), dx=1 / (grid - 1), axis=-1))


def upper_hull(cost: ArrayLike, accuracy: ArrayLike) -> tuple[Floats, Floats]:
    """The non-decreasing concave hull of points, by rising cost; one curve at a time.

    >>> [part.tolist() for part in upper_hull([1.0, 2.0, 3.0, 4.0], [0.5, 0.6, 0.9, 0.8])]
    [[1.0, 3.0], [0.5, 0.9]]
    """
    points = sorted(zip(np.asarray(cost, float).tolist(), np.asarray(accuracy, float).tolist(), strict=True))
    hull: list[tuple[float, float]] = []
    for x, y in points:
        if hull and y <= hull[-1][1]:
            continue
        while hull and (hull[-1][0] == x or (len(hull) > 1 and _slope(hull[-2], (x, y)) >= _slope(hull[-2], hull[-1]))):
            hull.pop()
        hull.append((x, y))
    return np.array([x for x, _ in hull]), np.array([y for _, y in hull])


def _slope(first: tuple[float, float], second: tuple[float, float]) -> float:
    return (second[1] - first[1]) / (second[0] - first[0])


def aiq(cost: ArrayLike, accuracy: ArrayLike, low: float, high: float) -> float:
    """Average improvement in quality: the mean height of the hull over costs from `low` to `high` (RouterBench).

    `low` and `high` are the costs of the cheapest and of the dearest single model. Right of its last point the hull
    is level; left of its first the curve's accuracy there counts. One curve at a time.

    >>> round(aiq([1.0, 2.0, 3.0], [0.5, 0.6, 0.9], 1.0, 5.0), 3)    # (0.7 · 2 + 0.9 · 2) / 4
    0.8
    """
    x, y = upper_hull(cost, accuracy)
    inside = x[(x > low) & (x < high)]
    grid = np.concatenate([[low], inside, [high]])
    return float(np.trapezoid(np.interp(grid, x, y), grid) / (high - low))


def recovered(calls: ArrayLike, accuracy: ArrayLike, weak: float, strong: float, fractions: ArrayLike) -> Floats:
    """PGR: how much of the gap between two models is closed at each share of strong calls (RouteLLM).

    The curve is joined to the two models alone at 0 and 1. One curve at a time.

    >>> recovered([0.5], [0.8], weak=0.4, strong=0.8, fractions=[0.25, 0.5, 1.0]).round(9).tolist()
    [0.5, 1.0, 1.0]
    """
    order = np.argsort(np.asarray(calls, float), kind="stable")
    x = np.concatenate([[0.0], np.asarray(calls, float)[order], [1.0]])
    y = np.concatenate([[weak], np.asarray(accuracy, float)[order], [strong]])
    return np.asarray((np.interp(np.asarray(fractions, float), x, y) - weak) / (strong - weak))


def apgr(calls: ArrayLike, accuracy: ArrayLike, weak: float, strong: float) -> float:
    """Average PGR over all shares of strong calls: 0.5 for calls drawn at random.

    >>> round(apgr([0.25, 0.5], [0.5, 0.6], weak=0.4, strong=0.8), 3), round(apgr([0.5], [0.8], 0.4, 0.8), 3)
    (0.5, 0.75)
    """
    fractions = np.linspace(0, 1, 101)
    return float(np.trapezoid(recovered(calls, accuracy, weak, strong, fractions), fractions))


def cpt(calls: ArrayLike, accuracy: ArrayLike, weak: float, strong: float, share: float) -> float:
    """The smallest share of strong calls at which so much of the gap is closed (RouteLLM's CPT).

    >>> round(cpt([0.5], [0.8], weak=0.4, strong=0.8, share=0.8), 3)
    0.4
    """
    order = np.argsort(np.asarray(calls, float), kind="stable")
    x = np.concatenate([[0.0], np.asarray(calls, float)[order], [1.0]])
    y = np.concatenate([[weak], np.asarray(accuracy, float)[order], [strong]])
    return float(cost_to_reach(x, y, weak + share * (strong - weak)))


def auroc(scores: ArrayLike, correct: ArrayLike, weights: ArrayLike) -> Floats:
    """Area under the ROC curve for every draw: the chance that a right answer scores higher than a wrong one.

    Args:
        scores: Shape (answers,); ties count half.
        correct: 0…1, shape (answers,); credit in part counts as right and as wrong in part.
        weights: Shape (draws, answers).

    >>> auroc([0.1, 0.5, 0.5, 0.9], [0, 0, 1, 1], [[1, 1, 1, 1], [1, 1, 1, 0]]).tolist()
    [0.875, 0.75]
    """
    score = np.asarray(scores, float)
    order = np.argsort(score, kind="stable")
    first = np.flatnonzero(np.diff(score[order], prepend=np.nan) != 0)  # of those that tie
    label, weight = np.asarray(correct, float)[order], np.asarray(weights, float)[:, order]
    right, wrong = (np.add.reduceat(weight * share, first, axis=1) for share in (label, 1 - label))
    below = np.cumsum(wrong, 1) - wrong / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((right * below).sum(1) / (right.sum(1) * wrong.sum(1)), float)


def ece(scores: ArrayLike, correct: ArrayLike, weights: ArrayLike, *, bins: int = 10) -> Floats:
    """Expected calibration error over equal-width bins, for every draw; arguments as of `auroc`.

    >>> ece([0.2, 0.2, 0.8, 0.8], [0, 1, 1, 1], [[1, 1, 1, 1]]).round(3).tolist()    # (0.3 + 0.2) / 2
    [0.25]
    """
    score, weight = np.asarray(scores, float), np.asarray(weights, float)
    member = np.minimum((score * bins).astype(int), bins - 1)[:, None] == np.arange(bins)
    gap = (weight * (score - np.asarray(correct, float))) @ member
    return np.asarray(np.abs(gap).sum(1) / weight.sum(1))


def precision_recall(
    scores: ArrayLike, correct: ArrayLike, weights: ArrayLike, *, bar: float = 0.5
) -> tuple[Floats, Floats]:
    """How many rejected answers are wrong, and how many wrong answers are rejected; arguments as of `auroc`.

    >>> [found.tolist() for found in precision_recall([0.2, 0.4, 0.9, 0.9], [0, 1, 0, 1], [[1, 1, 1, 1]])]
    [[0.5], [0.5]]
    """
    rejected = (np.asarray(scores, float) < bar).astype(float)
    weight, wrong = np.asarray(weights, float), 1 - np.asarray(correct, float)
    caught = weight @ (rejected * wrong)
    with np.errstate(invalid="ignore", divide="ignore"):
        return caught / (weight @ rejected), caught / (weight @ wrong)


def each(function: Callable[..., float], *curves: Floats) -> Floats:
    """A function of one curve, for every draw: the arguments' first axis holds the draws."""
    return np.array([function(*(curve[draw] for curve in curves)) for draw in range(len(curves[0]))])


def resamples(queries: int, *, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Weights of bootstrap draws over queries, the plain mean first; shape (draws + 1, queries), rows sum to 1.

    >>> resamples(4, draws=2).sum(1).tolist()
    [1.0, 1.0, 1.0]
    """
    rng = np.random.default_rng(seed)
    counts = np.stack([np.bincount(rng.integers(queries, size=queries), minlength=queries) for _ in range(draws)])
    return np.concatenate([np.ones((1, queries)), counts]) / queries


def with_interval(values: ArrayLike) -> tuple[float, float, float]:
    """A figure and its 95 % interval, from its value on the data (first) and on the draws.

    >>> with_interval([0.5, 0.4, 0.6])
    (0.5, 0.405, 0.595)
    """
    array = np.asarray(values, float)
    known = array[1:][~np.isnan(array[1:])]
    low, high = np.quantile(known, LEVELS, method="linear") if known.size else (np.nan, np.nan)
    return float(array[0]), float(low), float(high)
