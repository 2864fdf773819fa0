"""The multiple-choice knapsack behind planning: one option for each cluster. Pure arithmetic.

`value` and `cost` have the shape (options, clusters) and count per query; `weights` is each cluster's share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cascade_components.arrays import Floats, Labels

_TIE = 1e-12
_SECONDS = 1.0


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


def _prefixes(cheapest: Labels, steps: list[Step]) -> Any:
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
    """Minimise the objective with the burden at or below the limit, over options that no other one dominates."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    pairs = [(o, c) for c in range(len(weights)) for o in _efficient(objective[:, c], burden[:, c])]
    option, cluster = np.array(pairs).T
    scale = [max(float(np.ptp(table)), _TIE) for table in (objective, burden)]
    shift = [float(table.min()) for table in (objective, burden)]
    goal = weights[cluster] * (objective[option, cluster] - shift[0]) / scale[0]
    load = weights[cluster] * (burden[option, cluster] - shift[1]) / scale[1]
    one_each = csr_array((np.ones(len(pairs)), (cluster, np.arange(len(pairs)))), shape=(len(weights), len(pairs)))
    found = milp(
        goal,
        integrality=np.ones(len(pairs)),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(load[None], -np.inf, (limit - shift[1]) / scale[1]),
        ],
        options={"time_limit": _SECONDS, "mip_rel_gap": 0.0},
    )
    bound = -np.inf if found.mip_dual_bound is None else found.mip_dual_bound * scale[0] + shift[0]
    options = known
    if found.x is not None:
        chosen = np.empty(len(weights), np.intp)
        picked = np.flatnonzero(found.x > 0.5)
        chosen[cluster[picked]] = option[picked]
        # The solver works to a tolerance of 1e-6: what it found must hold exactly, and beat what was known.
        holds = _total(burden, weights, chosen) <= limit + _TIE + 1e-9 * abs(limit)
        if holds and _total(objective, weights, chosen) < _total(objective, weights, known) - _TIE:
            options = chosen
    gap = _total(objective, weights, options) - bound
    return Choice(options, 0.0 if gap < 1e-6 * scale[0] else float(gap))


def _efficient(objective: Floats, burden: Floats) -> list[int]:
    """Options that none beats in both; of equals the first."""
    order = sorted(range(len(objective)), key=lambda o: (burden[o], objective[o], o))
    kept: list[int] = []
    for option in order:
        if not kept or objective[option] < objective[kept[-1]] - _TIE:
            kept.append(option)
    return kept
