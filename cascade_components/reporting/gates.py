"""What estimators and gates are worth: reliability, thresholds, and what an escalation buys."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cascade_components.arrays import Floats, Labels, nan_mean
from cascade_components.calibration import expected_calibration_error, reliability
from cascade_components.evaluation import Replay
from cascade_components.policy import CascadePolicy
from cascade_components.quality.calibrated import WEAK
from cascade_components.trace import Plan

LEVELS = 24
"""Thresholds that a curve is drawn through: quantiles of the scores."""

MOST_GATES = 6
"""Gates that are looked at, those of the most queries."""


@dataclass(frozen=True)
class Reliability:
    """P(correct) against the share that was right, of one model's answers."""

    model: str
    bins: tuple[tuple[float, float, int], ...]
    """Mean P(correct), share right, answers."""
    ece: float
    answers: int


@dataclass(frozen=True)
class ThresholdCurve:
    """The whole policy's accuracy and cost, by the threshold of one of its gates."""

    start: str
    target: str
    thresholds: tuple[float, ...]
    accuracy: tuple[float, ...]
    cost: tuple[float, ...]
    chosen: tuple[float, ...]
    """The policy's own, which may differ between clusters."""


@dataclass(frozen=True)
class Escalations:
    """What became of the answers that one gate read."""

    start: str
    target: str
    answers: int
    mended: int
    """Escalated: wrong before, right (or better) after."""
    spoiled: int
    """Escalated: right before, wrong (or worse) after."""
    still_right: int
    still_wrong: int
    added_cost: float
    """Mean of an escalated answer, in the metric's units; NaN: none was escalated."""

    @property
    def escalated(self) -> int:
        """How many were escalated."""
        return self.mended + self.spoiled + self.still_right + self.still_wrong

    @property
    def cost_per_mended(self) -> float:
        """What one more right answer costs, spoiled ones set off; infinite where there is none."""
        gained = self.mended - self.spoiled
        return self.added_cost * self.escalated / gained if gained > 0 else float("inf")


def reliabilities(policy: CascadePolicy, replay: Replay) -> list[Reliability]:
    """Of each model's estimator, on these answers; weakest model first."""
    found = []
    for at, model in enumerate(policy.models):
        if model not in policy.estimators:
            continue
        probability = _p_correct(policy, replay, at)
        correct = replay.correct[:, at]
        known = ~np.isnan(probability) & ~np.isnan(correct)
        if known.any():
            sure, right = probability[known], correct[known]
            error = expected_calibration_error(sure, right)
            found.append(Reliability(model, tuple(reliability(sure, right)), error, len(sure)))
    return found


def threshold_curves(policy: CascadePolicy, replay: Replay) -> list[ThresholdCurve]:
    """Of each gate of the policy: every other plan, and every other gate, stays as it is."""
    gates = _gates(policy, replay)[:MOST_GATES]
    return [_curve(policy, replay, start, target, queries) for start, target, queries in gates]


def escalations(policy: CascadePolicy, replay: Replay) -> list[Escalations]:
    """What the policy's gates made of the answers that they read."""
    plans = policy.every_plan
    gated, bare = (replay.columns(policy, which) for which in (plans, [Plan(plan.start) for plan in plans]))
    added, share = gated["cost"] - bare["cost"], gated["escalation_rate"]
    return [
        _escalated(policy, replay, start, target, queries, _added_cost(added[queries], share[queries]))
        for start, target, queries in _gates(policy, replay)[:MOST_GATES]
    ]


def gate_count(policy: CascadePolicy, replay: Replay) -> int:
    """How many gates there are that could be looked at."""
    return len(_gates(policy, replay))


def _gates(policy: CascadePolicy, replay: Replay) -> list[tuple[str, str, Labels]]:
    """Start, target and queries of each gate, most queries first."""
    plans = policy.plans()
    found = []
    for start, target in dict.fromkeys((plan.start, plan.target) for plan in plans if plan.target is not None):
        clusters = [number for number, plan in enumerate(plans) if (plan.start, plan.target) == (start, target)]
        queries = np.flatnonzero(np.isin(replay.labels, clusters))
        models = [policy.models.index(name) for name in (start, target)]
        known = ~np.isnan(replay.correct[queries][:, models]).all(-1).any(-1)
        if known.any():
            found.append((start, target, queries[known]))
    return sorted(found, key=lambda gate: -len(gate[2]))


def _curve(policy: CascadePolicy, replay: Replay, start: str, target: str, queries: Labels) -> ThresholdCurve:
    mine = [plan for plan in policy.plans() if (plan.start, plan.target) == (start, target)]
    chosen = sorted({plan.threshold for plan in mine if plan.threshold is not None})
    scores = replay.scores[queries, policy.models.index(start)]
    scores = scores[~np.isnan(scores) & (scores > WEAK)]
    levels = np.quantile(scores, np.linspace(0, 1, LEVELS)) if scores.size else np.zeros(0)
    thresholds = np.unique([*levels, *chosen])
    rows = []
    for threshold in thresholds:
        plans = [replace(plan, threshold=float(threshold)) if plan in mine else plan for plan in policy.every_plan]
        evaluation = replay.run(policy, plans)
        rows.append((evaluation.accuracy, evaluation.cost))
    accuracy, cost = zip(*rows, strict=True)
    return ThresholdCurve(start, target, tuple(thresholds.tolist()), accuracy, cost, tuple(chosen))


def _escalated(
    policy: CascadePolicy, replay: Replay, start: str, target: str, queries: Labels, added_cost: float
) -> Escalations:
    weak, strong = policy.models.index(start), policy.models.index(target)
    plans = policy.plans()
    rejected = np.zeros((len(queries), replay.correct.shape[2]), dtype=bool)
    for cluster in np.unique(replay.labels[queries]):
        mine = replay.labels[queries] == cluster
        rejected[mine] = replay.rejected(policy, plans[cluster], queries[mine])
    first, second = replay.correct[queries, weak], nan_mean(replay.correct[queries, strong])[:, None]
    asked = ~np.isnan(first)
    rejected &= asked

    def count(which: Floats) -> int:
        return int((rejected & which).sum())

    same = first == second
    return Escalations(
        start,
        target,
        answers=int(asked.sum()),
        mended=count(second > first),
        spoiled=count(second < first),
        still_right=count(same & (first >= 0.5)),
        still_wrong=count(same & (first < 0.5)),
        added_cost=added_cost,
    )


def _added_cost(added: Floats, share: Floats) -> float:
    """Mean cost of an escalation: what queries cost more than if every first answer stood, and how many escalate."""
    known = ~np.isnan(added + share)
    return float(added[known].sum() / share[known].sum()) if share[known].any() else float("nan")


def _p_correct(policy: CascadePolicy, replay: Replay, at: int) -> Floats:
    """P(correct) of one model's answers, shape (queries, runs); NaN where there is no output."""
    estimator = policy.estimators[policy.models[at]]
    rows = replay.table.answers(at)
    found = np.full(replay.correct[:, at].shape, np.nan)
    if rows:
        answers = [row.answer for *_, row in rows]
        places = tuple(np.array([place[:2] for place in rows]).T)
        found[places] = estimator.predict_proba([row.query for *_, row in rows], answers)
    return found
