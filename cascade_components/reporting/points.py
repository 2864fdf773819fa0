"""Operating points of a policy, and what they are compared with, replayed on the same queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cascade_components.arrays import Floats, nan_mean
from cascade_components.evaluation import Evaluation, Replay, bootstrap_intervals
from cascade_components.options import OptionTable
from cascade_components.planning import Planner
from cascade_components.policy import CascadePolicy
from cascade_components.trace import Plan

MOST_POINTS, FEWEST_POINTS, MOST_ROWS = 40, 8, 2000
"""Of the points to choose among; rows are points × clusters: what the page has to carry."""


@dataclass(frozen=True)
class Point:
    """An operating point: the policy there, and its replay."""

    policy: CascadePolicy
    evaluation: Evaluation


@dataclass(frozen=True)
class Baseline:
    """What a cascade is compared with."""

    name: str
    accuracy: float
    cost: float
    retention: float
    intervals: Mapping[str, tuple[float, float]]


def operating_points(policy: CascadePolicy, replay: Replay) -> tuple[list[Point], int]:
    """The policy's front, thinned where it is long, with the policy itself; from cheap to dear.

    Returns:
        The points, and the position of the policy among them.
    """
    others = [point for point in policy.front() if point.point.options != policy.point.options]
    limit = min(MOST_POINTS, max(FEWEST_POINTS, MOST_ROWS // len(policy.table.sizes))) - 1
    if len(others) > limit:
        others = [others[position] for position in np.linspace(0, len(others) - 1, limit).round().astype(int)]
    ordered = sorted([*others, policy], key=lambda one: (one.point.cost, one.point.accuracy))
    points = [Point(one, replay.run(one)) for one in ordered if one is policy or _can_run(policy, replay, one.plans())]
    return points, next(at for at, point in enumerate(points) if point.policy is policy)


def alone(policy: CascadePolicy, replay: Replay) -> list[Baseline]:
    """Each model that was run on these queries, asked always; weakest first."""
    run = [model for at, model in enumerate(policy.models) if not np.isnan(replay.correct[:, at]).all()]
    return [_of(model, replay.run(policy, _everywhere(policy, model))) for model in run]


def mix_and_oracle(policy: CascadePolicy, replay: Replay, cost: float) -> list[Baseline]:
    """A coin tossed between the weakest and the strongest model, and the best that one model a query can do.

    Args:
        policy: The policy.
        replay: Its replay.
        cost: What the coin is weighted to cost.
    """
    right, costs = nan_mean(replay.correct), nan_mean(replay.costs["cost"])
    known = ~np.isnan(right + costs)
    ends = [(right[:, at], costs[:, at]) for at in (0, -1) if known[:, at].any()]
    found = []
    if len(ends) == 2:
        low, high = (float(np.nanmean(end[1])) for end in ends)
        share = float(np.clip((cost - low) / ((high - low) or 1.0), 0, 1))
        (weak_right, weak_cost), (strong_right, strong_cost) = ends
        mixed_right, mixed_cost = (
            (1 - share) * weak + share * strong
            for weak, strong in ((weak_right, strong_right), (weak_cost, strong_cost))
        )
        found.append(_baseline("random mix at the same cost", mixed_right, mixed_cost, right[:, -1], policy.seed))
    all_known = known.all(1)
    if all_known.any():
        best = right.max(1)
        cheapest = np.where(right >= best[:, None], costs, np.inf).min(1)
        gaps = np.where(all_known, 0.0, np.nan)
        found.append(_baseline("oracle (one model a query)", best + gaps, cheapest + gaps, right[:, -1], policy.seed))
    return found


def stage1_front(policy: CascadePolicy, replay: Replay) -> tuple[list[Evaluation], Baseline | None]:
    """Plans without gates: the replay of their front, and of the one for the policy's target, where it can be met."""
    if not (policy.table.target >= 0).any():
        return [], None
    planner = Planner(_ungated(policy.table), policy.factors, policy.strategy, policy.optimism)

    def replayed(options: tuple[int, ...]) -> Evaluation | None:
        # The ungated options come first in the table, so they have the same numbers in both.
        plans = [*(policy.table.plan(option) for option in options), Plan(policy.strongest)]
        return replay.run(policy, plans) if _can_run(policy, replay, plans) else None

    front = [one for point in planner.front()[:MOST_POINTS] if (one := replayed(point.options)) is not None]
    try:
        at_target = replayed(planner.at(policy.target).options)
    except ValueError:  # not without gates
        at_target = None
    return front, None if at_target is None else _of("Stage 1 alone, for the same target", at_target)


def without_each(policy: CascadePolicy, replay: Replay) -> dict[str, Evaluation]:
    """The replay of the policy while each of its models is out: as it is served then."""
    found = {}
    for model in policy.models if len(policy.models) > 1 else ():
        safest = next(other for other in reversed(policy.models) if other != model)
        plans = [*policy.plans(frozenset({model})), Plan(safest)]
        if _can_run(policy, replay, plans):
            found[model] = replay.run(policy, plans)
    return found


def _can_run(policy: CascadePolicy, replay: Replay, plans: Sequence[Plan]) -> bool:
    """Whether the models that the clusters' plans ask were run on these queries."""
    asked = {model for plan in plans[: len(policy.table.sizes)] for model in (plan.start, plan.target) if model}
    return not any(np.isnan(replay.correct[:, policy.models.index(model)]).all() for model in asked)


def _everywhere(policy: CascadePolicy, model: str) -> list[Plan]:
    return [Plan(model)] * (len(policy.table.sizes) + 1)


def _of(name: str, evaluation: Evaluation) -> Baseline:
    return Baseline(name, evaluation.accuracy, evaluation.cost, evaluation.retention, evaluation.intervals)


def _baseline(name: str, accuracy: Floats, cost: Floats, strongest: Floats, seed: int) -> Baseline:
    columns = {"accuracy": accuracy, "cost": cost, "strongest_accuracy": strongest}
    both = ~np.isnan(accuracy + strongest)
    kept = accuracy[both].sum() / strongest[both].sum() if strongest[both].any() else np.nan
    intervals = bootstrap_intervals(columns, seed)
    return Baseline(name, float(np.nanmean(accuracy)), float(np.nanmean(cost)), float(kept), intervals)


def _ungated(table: OptionTable) -> OptionTable:
    rows = np.flatnonzero(table.target < 0)
    names = ("start", "target", "threshold", "accuracy", "start_cost", "target_cost", "escalation")
    return replace(table, **{name: getattr(table, name)[rows] for name in names})
