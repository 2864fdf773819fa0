"""How accurate a policy expects answers to be, by model, cluster, and how they come to stand."""

from __future__ import annotations

import numpy as np

from cascade_components.arrays import Floats, nan_mean
from cascade_components.monitoring.observation import Kind
from cascade_components.monitoring.replay import replay
from cascade_components.policy import CascadePolicy

Prior = tuple[float, float]
"""The expected accuracy, and the answers of the fit that it rests on."""


def priors(policy: CascadePolicy) -> dict[Kind, Prior]:
    """(model, cluster, how its answers stand) → what the policy expects.

    Ungated answers: the option table's estimate. Answers accepted at the plan's gate, and those of its target after an
    escalation: their means over the queries of the fit, moved so that both together make the table's estimate of the
    plan. A policy without the outcomes of single queries knows the first only.
    """
    table, evidence = policy.table, policy.evidence
    counted = np.zeros((len(table.models), len(table.sizes)))
    if evidence.query_ids:
        asked = (~np.isnan(evidence.correct)).max(2)
        for cluster in range(len(table.sizes)):
            counted[:, cluster] = asked[evidence.labels == cluster].sum(0)
    else:
        counted[:] = table.sizes
    found: dict[Kind, Prior] = {}
    for option in np.flatnonzero(table.target < 0):
        start = int(table.start[option])
        for cluster in range(len(table.sizes)):
            value = float(table.accuracy[option, cluster]), max(1.0, float(counted[start, cluster]))
            found[table.models[start], cluster, "ungated"] = value
    return found | (_of_gates(policy) if evidence.query_ids else {})


def _of_gates(policy: CascadePolicy) -> dict[Kind, Prior]:
    seen, evidence, table = replay(policy), policy.evidence, policy.table
    found: dict[Kind, Prior] = {}
    for cluster, plan in enumerate(policy.plans()):
        if plan.target is None:
            continue
        queries = np.flatnonzero(seen.place == cluster)
        rejected = seen.rejected[queries]
        kept = evidence.correct[queries, policy.models.index(plan.start)]
        instead = nan_mean(evidence.correct[queries, policy.models.index(plan.target)])[:, None]
        estimate = float(table.accuracy[policy.point.options[cluster], cluster])
        accepted = _mean(np.where(rejected == 0, kept, np.nan), estimate)
        escalated = _mean(np.where(rejected == 1, instead, np.nan), estimate)
        share = float(nan_mean(rejected.ravel()))
        excess = 0.0 if np.isnan(share) else estimate - (1 - share) * accepted[0] - share * escalated[0]
        for model, stood, (mean, count) in ((plan.start, "accepted", accepted), (plan.target, "escalated", escalated)):
            found[model, cluster, stood] = min(1.0, max(0.0, mean + excess)), count
    return found


def _mean(values: Floats, otherwise: float) -> Prior:
    """Mean of values of shape (queries, runs), and the queries that have one."""
    of_query = nan_mean(values)
    known = of_query[~np.isnan(of_query)]
    return (float(known.mean()), float(len(known))) if len(known) else (otherwise, 1.0)
