"""This library's strategies: the joint plan with and without a quality estimator or a guarantee, and the paper's."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any, cast

import numpy as np
from data import Queries
from fold import Fold
from sweeps import COST_WEIGHTS, TARGETS, Replayed, Sweep

import cascade_components as cc

RETENTION_GRID = np.concatenate([np.linspace(0.75, 0.93, 19), np.linspace(0.935, 1.03, 39)])

TIMED = 200
TIMED_AT = ("retention", 0.97)


def joint(fold: Fold) -> Sweep:
    """Both stages planned together."""
    return _swept(fold, fold.fit())


def joint_static(fold: Fold) -> Sweep:
    """The same with static embeddings, which take a hundredth to a thirtieth of the time."""
    return _swept(fold.static, fold.static.fit())


def joint_by_retention(fold: Fold) -> Sweep:
    """The same fit, its curve drawn by the retention that is asked for."""
    policy = fold.fit()
    points = [_asked(policy, ("retention", float(share)), fold.reference.cost) for share in RETENTION_GRID]
    replayed = replay(policy, points, fold.test)
    return Sweep(np.stack([accuracy for accuracy, _ in replayed]), np.stack([cost for _, cost in replayed]))


def joint_without_quality(fold: Fold) -> Sweep:
    """Stage 1 alone: no answer is judged."""
    return _swept(fold, fold.fit(quality=None))


def sequential_stage1(fold: Fold) -> Sweep:
    """Stage 1 of arXiv 2606.27457."""
    return _swept(fold, fold.fit(strategy="sequential", quality=None))


def sequential(fold: Fold) -> Sweep | None:
    """Both stages of arXiv 2606.27457; its own estimators, trained as it says, are of the same kind as ours."""
    return _swept(fold, fold.fit(strategy="sequential")) if fold.judged else None


def guaranteed(fold: Fold, confidence: float = 0.95) -> Sweep | None:
    """The joint plan with a certificate for each retention; no more points than those asked for."""
    if not fold.certifies:
        return None
    found: dict[tuple[str, float], Replayed] = {}
    for target in TARGETS:
        if target[0] == "retention":
            policy = fold.fit(retention=target[1], confidence=confidence)
            found[target] = replay(policy, [policy], fold.test)[0]
    points = list(found.values())[::-1]
    return Sweep(np.stack([accuracy for accuracy, _ in points]), np.stack([cost for _, cost in points]), found)


def _swept(fold: Fold, policy: cc.CascadePolicy) -> Sweep:
    points = [policy.at(cost_weight=float(weight)) for weight in COST_WEIGHTS]
    asked = [_asked(policy, target, fold.reference.cost) for target in TARGETS]
    replayed = replay(policy, [*points, *asked], fold.test)
    along, met = replayed[: len(points)], replayed[len(points) :]
    return Sweep(
        np.stack([accuracy for accuracy, _ in along]),
        np.stack([cost for _, cost in along]),
        dict(zip(TARGETS, met, strict=True)),
        _decision_us(asked[TARGETS.index(TIMED_AT)], fold.test),
        f"{len(policy.centroids)} clusters",
    )


def _asked(policy: cc.CascadePolicy, target: tuple[str, float], strongest_cost: float) -> cc.CascadePolicy:
    """The policy at a target; where no plan meets it, the nearest."""
    kind, share = target
    try:
        return policy.at(retention=share) if kind == "retention" else policy.at(budget=share * strongest_cost)
    except ValueError:
        return policy.at(cost_weight=float(COST_WEIGHTS[0] if kind == "retention" else COST_WEIGHTS[-1]))


class _At:
    """A policy whose front is the points given: `cascade_components.sweep` replays them in one go."""

    def __init__(self, policy: cc.CascadePolicy, points: Sequence[cc.CascadePolicy]) -> None:
        self._policy, self._points = policy, list(points)

    def front(self) -> list[cc.CascadePolicy]:
        return self._points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)


def replay(policy: cc.CascadePolicy, points: Sequence[cc.CascadePolicy], test: Queries) -> list[Replayed]:
    """Replay operating points of one fit; those with the same plans once."""
    distinct = {point.plans(): point for point in points}
    at = cast(cc.CascadePolicy, _At(policy, list(distinct.values())))
    replayed = dict(zip(distinct, cc.sweep(at, test.outcomes, progress=False), strict=True))
    found = [replayed[point.plans()] for point in points]
    if skipped := sum(evaluation.skipped for evaluation in found):
        msg = f"{skipped} replays were skipped, for want of outcomes."
        raise RuntimeError(msg)
    return [(evaluation.per_query["accuracy"], evaluation.per_query["cost"]) for evaluation in found]


def _decision_us(policy: cc.CascadePolicy, test: Queries) -> float:
    """Of starting a query and judging its answer, where the policy judges it."""
    cascade = cc.Cascade(policy)
    rows = range(min(TIMED, len(test)))
    models = {model: column for column, model in enumerate(test.models)}
    answers = {}
    for column in range(len(test.models)):
        known, _, found = test.answers(column)
        answers.update({(int(row), column): answer for row, answer in zip(known, found, strict=True)})
    for _warm_up in range(2):
        start = perf_counter()
        for row in rows:
            trace = cascade.start(test.texts[row])
            answer = answers.get((row, models[trace.model]))
            if trace.gated and answer is not None:
                cascade.judge(trace, answer)
        took = perf_counter() - start
    return 1e6 * took / len(rows)
