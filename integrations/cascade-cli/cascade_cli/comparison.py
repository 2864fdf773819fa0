"""The cascade next to what it replaces, on the same test questions."""

from __future__ import annotations

from typing import Any

import numpy as np

import cascade_components as cc
from cascade_components.arrays import nan_mean
from cascade_components.tables import OutcomeTable

RETENTIONS = {"cascade:0.90": 0.90, "cascade": 0.95, "cascade:0.98": 0.98}
"""The operating points shown, by the share of the strongest model's accuracy they were planned to keep."""


def compare(policy: cc.CascadePolicy, outcomes: cc.Outcomes) -> dict[str, dict[str, Any]]:
    """Accuracy, cost and latency of each model alone, of a random mix, and of the cascade at three operating points.

    Args:
        policy: Fitted on other questions.
        outcomes: Test outcomes of all the policy's models.
    """
    results = {f"always:{model}": alone for model, alone in zip(policy.models, _alone(policy, outcomes), strict=True)}
    points: dict[str, dict[str, Any]] = {}
    for name, retention in RETENTIONS.items():
        ev = cc.evaluate(policy.at(retention=retention), outcomes, progress=False)
        points[name] = {
            "accuracy": ev.accuracy,
            "cost": ev.cost,
            "e2el_ms": ev.e2el_ms,
            "tpot_ms": ev.tpot_ms,
            "escalation_rate": ev.escalation_rate,
            "retention": ev.retention,
            "intervals": {key: list(bounds) for key, bounds in ev.intervals.items()},
        }
    weakest, strongest = results[f"always:{policy.models[0]}"], results[f"always:{policy.strongest}"]
    results["random mix"] = _mix(weakest, strongest, points["cascade"]["cost"])
    return results | points


def _alone(policy: cc.CascadePolicy, outcomes: cc.Outcomes) -> list[dict[str, Any]]:
    table = OutcomeTable.of(outcomes, policy.models)
    columns = {"accuracy": table.values("correct"), "cost": table.cost(policy.metric)}
    columns |= {name: table.values(name) for name in ("e2el_ms", "tpot_ms")}
    means = {
        name: [float(np.nanmean(nan_mean(values)[:, m])) for m in range(len(policy.models))]
        for name, values in columns.items()
    }
    return [{name: values[m] for name, values in means.items()} for m in range(len(policy.models))]


def _mix(weakest: dict[str, Any], strongest: dict[str, Any], cost: float) -> dict[str, Any]:
    """Ask the weakest or the strongest by the toss of a coin weighted so that the mix costs what the cascade costs."""
    share = float(np.clip((cost - weakest["cost"]) / ((strongest["cost"] - weakest["cost"]) or 1.0), 0, 1))
    return {name: (1 - share) * weakest[name] + share * strongest[name] for name in weakest}
