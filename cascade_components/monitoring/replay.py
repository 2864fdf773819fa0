"""A policy's plans, replayed on the queries that it was fitted on: what they escalate, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cascade_components.accounting import escalated_cost
from cascade_components.arrays import Floats, Labels, nan_mean
from cascade_components.policy import CascadePolicy
from cascade_components.quality.calibrated import WEAK
from cascade_components.trace import Plan


@dataclass(frozen=True)
class Replay:
    """What becomes of each query of the fit."""

    plans: tuple[Plan, ...]
    """Of each cluster; the last one: of queries out of the map."""
    place: Labels
    """Position of each query's plan, shape (queries,)."""
    rejected: Floats
    """Whether the start model's answer was judged weak, shape (queries, runs); NaN: unknown."""
    escalation: Floats
    """Its mean over the runs, shape (queries,)."""
    cost: Floats
    """Under the policy's metric, at today's prices, shape (queries,)."""


def replay(policy: CascadePolicy) -> Replay:
    """Replay a policy on its own evidence, by out-of-fold scores."""
    evidence = policy.evidence
    plans = policy.every_plan
    place = evidence.labels.astype(np.intp)
    outside = evidence.distances > policy.radius[place]
    place = np.where(outside, len(plans) - 1, place)
    rejected = np.full((len(place), evidence.correct.shape[2]), np.nan)
    cost = np.full(len(place), np.nan)
    for plan in set(plans):
        queries = np.flatnonzero(np.isin(place, [at for at, other in enumerate(plans) if other == plan]))
        rejected[queries], cost[queries] = _replayed(policy, plan, queries)
    return Replay(plans, place, rejected, nan_mean(rejected), cost)


def _replayed(policy: CascadePolicy, plan: Plan, queries: Labels) -> tuple[Floats, Floats]:
    evidence, factors = policy.evidence, policy.factors
    start, target = policy.models.index(plan.start), policy.models.index(plan.target or policy.strongest)
    scores, tokens = evidence.scores[queries, start], evidence.output_tokens
    if plan.threshold is None:
        # An answer that fails a check is weak without a gate, too, if there is a stronger model.
        weak = (scores == WEAK) & (start != target)
        unknown = np.isnan(evidence.correct[queries, start])
    else:
        weak, unknown = scores < plan.threshold, np.isnan(scores)
    first = evidence.cost[queries, start] * factors.get(plan.start, 1.0)
    second = nan_mean(evidence.cost[queries, target])[:, None] * factors.get(policy.models[target], 1.0)
    lengths = tokens[queries, start], nan_mean(tokens[queries, target])[:, None]
    cost = np.where(weak, escalated_cost(policy.metric, first, second, *lengths), first)
    return np.where(unknown, np.nan, weak.astype(float)), nan_mean(np.where(unknown, np.nan, cost))
