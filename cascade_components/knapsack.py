"""The multiple-choice knapsack behind planning: one option for each cluster. Pure arithmetic.

`value` and `cost` have the shape (options, clusters) and count per query; `weights` is each cluster's share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from cascade_components.arrays import Floats, Labels

_TIE = 1e-12
_MOST_STATES = 10_000
"""Partial choices kept; more of them are cut off, and the gap says what that may have cost."""


@dataclass(frozen=True)
class Step:
    """One move along the convex front: a cluster takes a better option at this price (value per unit of cost)."""

    price: float
    cluster: int
    option: int


@dataclass(frozen=True)
class Choice:
    """One option for each cluster; `gap` is how much better the optimum could at most be (0: this is it)."""

    options: Labels
    gap: float


def best_at_price(value: Floats, cost: Floats, price: float) -> Labels:
    """The option of each cluster that maximises value − price · cost; ties to the cheaper, then to the first.

    Example:
        >>> best_at_price(np.array([[0.5], [0.9]]), np.array([[1.0], [3.0]]), price=0.1).tolist()
        [1]
    """
    score = -cost if np.isinf(price) else value - price * cost
    tied = score >= score.max(0) - _TIE
    if np.isinf(price):
        return np.asarray(np.where(tied, value, -np.inf).argmax(0))
    return np.asarray(np.where(tied, cost, np.inf).argmin(0))


def front_steps(value: Floats, cost: Floats) -> tuple[Labels, list[Step]]:
    """The cheapest options, and the moves from there along each cluster's convex hull, best price first.

    Any prefix of the steps is the optimum at some price, so the steps draw the convex front of operating points.
    """
    cheapest = best_at_price(value, cost, np.inf)
    steps: list[Step] = []
    for cluster, option in enumerate(cheapest):
        at = int(option)
        while True:
            rise, run = value[:, cluster] - value[at, cluster], cost[:, cluster] - cost[at, cluster]
            better = (rise > _TIE) & (run > 0)
            if not better.any():
                break
            slope = np.where(better, rise / np.where(better, run, 1.0), -np.inf)
            steepest = slope >= slope.max() * (1 - _TIE)
            at = int(np.where(steepest, run, -np.inf).argmax())
            steps.append(Step(float(slope[at]), cluster, at))
    return cheapest, sorted(steps, key=lambda step: -step.price)


def most_value(value: Floats, cost: Floats, weights: Floats, budget: float) -> Choice | None:
    """The choice of highest weighted value whose weighted cost is within the budget; None where none is."""
    cheapest, steps = front_steps(value, cost)
    if _total(cost, weights, cheapest) > budget * (1 + 1e-9):
        return None
    known = cheapest
    for options in _prefixes(cheapest, steps):
        if _total(cost, weights, options) <= budget * (1 + 1e-9):
            known = options
    if len(steps) == 0 or np.array_equal(known, _last(cheapest, steps)):
        return Choice(known, 0.0)
    return _solve(-value, cost, weights, budget, known)


def least_cost(value: Floats, cost: Floats, weights: Floats, floor: float) -> Choice | None:
    """The choice of lowest weighted cost whose weighted value reaches the floor; None where none does."""
    cheapest, steps = front_steps(value, cost)
    reaching = (o for o in _prefixes(cheapest, steps) if _total(value, weights, o) >= floor - _TIE)
    known = next(reaching, None)
    if known is None or np.array_equal(known, cheapest):
        return None if known is None else Choice(known, 0.0)
    return _solve(cost, -value, weights, -floor, known)


def shadow_price(value: Floats, cost: Floats, weights: Floats, spent: float) -> float:
    """Value that one more unit of cost buys at a total cost: the slope of the convex front there; 0 at its end."""
    cheapest, steps = front_steps(value, cost)
    for step, options in zip(steps, list(_prefixes(cheapest, steps))[1:], strict=True):
        if _total(cost, weights, options) > spent + _TIE:
            return step.price
    return 0.0


def _prefixes(cheapest: Labels, steps: list[Step]) -> Iterator[Labels]:
    options = cheapest.copy()
    yield options.copy()
    for step in steps:
        options[step.cluster] = step.option
        yield options.copy()


def _last(cheapest: Labels, steps: list[Step]) -> Labels:
    options = cheapest.copy()
    for step in steps:
        options[step.cluster] = step.option
    return options


def _total(per_query: Floats, weights: Floats, options: Labels) -> float:
    return float(weights @ per_query[options, np.arange(len(weights))])


def _solve(objective: Floats, burden: Floats, weights: Floats, limit: float, known: Labels) -> Choice:
    """Minimise the objective with the burden at or below the limit; `known` is a choice that holds.

    Partial choices are extended cluster by cluster (Nemhauser and Ullmann 1969). One that costs more and gives less
    than another, or whose convex bound cannot beat what is known, is dropped; both are exact.
    """
    loss, load = weights * objective, weights * burden
    incumbent = _total(objective, weights, known) - _TIE
    room = limit + _TIE + 1e-9 * abs(limit)
    candidates = _candidates(objective, burden, weights, room, incumbent)
    # Clusters with many options last: their bounds cut best when little is left to decide.
    sequence = sorted(range(len(weights)), key=lambda cluster: len(candidates[cluster]))
    bounds = _bounds(loss[:, sequence], load[:, sequence])
    losses, loads = np.zeros(1), np.zeros(1)
    history: list[tuple[Labels, Labels]] = []
    cut_off = np.inf
    for step, cluster in enumerate(sequence):
        options = candidates[cluster]
        losses = (losses[:, None] + loss[options, cluster]).ravel()
        loads = (loads[:, None] + load[options, cluster]).ravel()
        bound = losses + bounds[step + 1](room - loads)
        promising = np.flatnonzero(bound < incumbent)
        if len(promising) > _MOST_STATES:
            order = np.argpartition(bound[promising], _MOST_STATES)
            cut_off = min(cut_off, float(bound[promising[order[_MOST_STATES]]]))
            promising = np.sort(promising[order[:_MOST_STATES]])
        order = promising[np.lexsort((losses[promising], loads[promising]))]
        best_before = np.minimum.accumulate(np.concatenate([[np.inf], losses[order]]))[:-1]
        order = order[losses[order] < best_before]
        history.append((order // len(options), options[order % len(options)]))
        losses, loads = losses[order], loads[order]
    if not len(losses):
        return Choice(known, max(0.0, float(incumbent - cut_off)))
    state, chosen = int(losses.argmin()), np.empty(len(weights), np.intp)
    gap = max(0.0, float(losses[state] - cut_off))
    for cluster, (before, option) in zip(reversed(sequence), reversed(history), strict=True):
        chosen[cluster], state = option[state], int(before[state])
    return Choice(chosen, gap)


def _candidates(objective: Floats, burden: Floats, weights: Floats, room: float, incumbent: float) -> list[Labels]:
    """The options of each cluster that a better choice than the incumbent can hold.

    At the price where the convex front meets the limit, the best options of all clusters bound the loss from below.
    An option so much worse than its cluster's best that the bound passes the incumbent is in no better choice.
    """
    price = shadow_price(-objective, burden, weights, room)
    score = weights * (objective + price * burden)
    bound = float(score.min(0).sum() - price * room)
    promising = bound + (score - score.min(0)) < incumbent + _TIE
    found = []
    for cluster in range(len(weights)):
        options = np.flatnonzero(promising[:, cluster])
        if not options.size:  # by rounding alone: the bound is met by the incumbent
            options = np.array([int(score[:, cluster].argmin())])
        found.append(options[_efficient(objective[options, cluster], burden[options, cluster])])
    return found


def _bounds(loss: Floats, load: Floats) -> list[Callable[[Floats], Floats]]:
    """The least loss that the clusters not yet decided can have in the room left, for each number of decided ones.

    By their convex hulls; infinite where they do not fit.
    """
    lightest, steps = front_steps(-loss, load)
    clusters = loss.shape[1]

    def bound(first: int) -> Callable[[Floats], Floats]:
        others = np.arange(first, clusters)
        at = dict(zip(others.tolist(), lightest[first:].tolist(), strict=True))
        knots = [(float(load[lightest[others], others].sum()), float(loss[lightest[others], others].sum()))]
        for step in steps:
            if step.cluster >= first:
                before, after = (at[step.cluster], step.cluster), (step.option, step.cluster)
                knots.append((knots[-1][0] + load[after] - load[before], knots[-1][1] + loss[after] - loss[before]))
                at[step.cluster] = step.option
        x, y = np.array(knots).T
        return lambda room: np.where(room < x[0] - _TIE, np.inf, np.interp(room, x, y))

    return [bound(first) for first in range(clusters + 1)]


def _efficient(objective: Floats, burden: Floats) -> list[int]:
    """Options that none beats in both; of equals the first."""
    order = np.lexsort((np.arange(len(objective)), objective, burden))
    best_before = np.minimum.accumulate(np.concatenate([[np.inf], objective[order]]))[:-1]
    return [int(option) for option in order[objective[order] < best_before - _TIE]]
