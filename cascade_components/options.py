"""The option table: every plan a cluster could get, with its expected accuracy and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cascade_components.accounting import pass_shares
from cascade_components.arrays import Floats, Labels, cluster_moments, nan_mean
from cascade_components.evidence import Evidence
from cascade_components.pool import PoolStats, shrink
from cascade_components.trace import Plan

THRESHOLDS = 10
"""Candidate thresholds for each start model: quantiles of its scores. More of them win by luck, not by merit."""

MIN_ESCALATION, MAX_ESCALATION = 0.01, 0.8
"""Shares of the start model's answers between which a threshold is worth a gate."""


@dataclass(frozen=True)
class OptionTable:
    """Options × clusters. A plan's cost is linear in the models' prices, so a new price needs no new fit.

    The ungated options come first: among equals the first is the simplest, and it streams.
    """

    models: tuple[str, ...]
    """The ladder: weakest model first."""
    start: Labels
    """Position of the start model in the ladder, shape (options,)."""
    target: Labels
    """Position of the escalation target; −1: ungated."""
    threshold: Floats
    """Accept at or above; NaN: ungated."""
    accuracy: Floats
    """Shape (options, clusters)."""
    start_cost: Floats
    """The start model's part of the cost, shape (options, clusters)."""
    target_cost: Floats
    """The target's part, shape (options, clusters)."""
    escalation: Floats
    """Share of the queries that escalate, shape (options, clusters)."""
    sizes: Floats
    """Queries in each cluster, shape (clusters,)."""

    @property
    def weights(self) -> Floats:
        """Share of the queries in each cluster."""
        return np.asarray(self.sizes / self.sizes.sum())

    def cost(self, factors: Mapping[str, float]) -> Floats:
        """Expected cost per query with each model's measured cost times its factor, shape (options, clusters)."""
        factor = np.array([factors.get(model, 1.0) for model in self.models])
        of_target = np.where(self.target >= 0, factor[self.target], 0.0)
        return np.asarray(factor[self.start][:, None] * self.start_cost + of_target[:, None] * self.target_cost)

    def plan(self, option: int) -> Plan:
        """One option as a plan."""
        start, target = self.models[self.start[option]], int(self.target[option])
        if target < 0:
            return Plan(start)
        return Plan(start, self.models[target], float(self.threshold[option]))

    def without(self, models: Sequence[str]) -> Labels:
        """The options that need none of the given models."""
        out = [position for position, model in enumerate(self.models) if model in models]
        return np.flatnonzero(~np.isin(self.start, out) & ~np.isin(self.target, out))

    def pool(self, factors: Mapping[str, float]) -> PoolStats:
        """The ungated options as the paper's statistics."""
        alone = np.flatnonzero(self.target < 0)
        names = tuple(self.models[position] for position in self.start[alone])
        return PoolStats(names, 1 - self.accuracy[alone], self.cost(factors)[alone], self.sizes)

    def remove(self, model: str) -> OptionTable:
        """The table of the pool without one model."""
        keep = self.without([model])
        gone = self.models.index(model)

        def renumbered(positions: Labels) -> Labels:
            return np.where(positions > gone, positions - 1, positions)

        return OptionTable(
            tuple(name for name in self.models if name != model),
            renumbered(self.start[keep]),
            renumbered(self.target[keep]),
            self.threshold[keep],
            self.accuracy[keep],
            self.start_cost[keep],
            self.target_cost[keep],
            self.escalation[keep],
            self.sizes,
        )


def candidate_thresholds(scores: Floats) -> Floats:
    """The thresholds that a gate on these scores can have, ascending; shape (at most `THRESHOLDS`,).

    Example:
        >>> candidate_thresholds(np.array([0.5, 0.5, 0.5])).tolist()
        [0.5]
    """
    levels = np.quantile(scores, np.arange(1, THRESHOLDS + 1) / (THRESHOLDS + 1), method="higher")
    return np.unique(levels)


def option_table(
    evidence: Evidence, metric: str, *, thresholds: Sequence[float] | None = None, shrunk: bool = True
) -> OptionTable:
    """Work out every option's expected accuracy and cost in every cluster.

    Args:
        evidence: What the fit saw, its models from weakest to strongest.
        metric: The cost metric.
        thresholds: Candidate thresholds; None: quantiles of each start model's scores.
        shrunk: Whether cluster means shrink towards the pool-wide mean (empirical Bayes).
    """
    rows = [_ungated(evidence, start, shrunk=shrunk) for start in range(len(evidence.models))]
    for start in range(len(evidence.models)):
        scores = evidence.scores[:, start]
        known = scores[~np.isnan(scores)]
        if not known.size:
            continue
        candidates = candidate_thresholds(known) if thresholds is None else np.asarray(thresholds, float)
        stronger = range(start + 1, len(evidence.models))
        rows += [_gated(evidence, metric, start, target, candidates, shrunk=shrunk) for target in stronger]
    columns = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    start_, target_, threshold, accuracy, start_cost, target_cost, escalation = columns
    return OptionTable(
        evidence.models,
        start_.astype(np.intp),
        target_.astype(np.intp),
        threshold,
        accuracy,
        start_cost,
        target_cost,
        escalation,
        evidence.sizes,
    )


def _ungated(evidence: Evidence, start: int, *, shrunk: bool) -> tuple[Floats, ...]:
    accuracy = _accuracy(evidence, nan_mean(evidence.correct[:, start])[None], shrunk=shrunk)
    cost = _means(evidence, nan_mean(evidence.cost[:, start])[None], shrunk=shrunk)
    zero = np.zeros_like(cost)
    return np.array([start]), np.array([-1]), np.array([np.nan]), accuracy, cost, zero, zero


def _gated(
    evidence: Evidence, metric: str, start: int, target: int, thresholds: Floats, *, shrunk: bool
) -> tuple[Floats, ...]:
    """The start model gated by each threshold, query by query, then cluster by cluster."""
    correct, cost, tokens, scores = (
        array[:, start] for array in (evidence.correct, evidence.cost, evidence.output_tokens, evidence.scores)
    )
    instead = nan_mean(evidence.correct[:, target])[:, None]
    first, second = pass_shares(metric, tokens, nan_mean(evidence.output_tokens[:, target])[:, None])
    second_cost = second * nan_mean(evidence.cost[:, target])[:, None]
    unknown = np.isnan(scores) | np.isnan(instead)
    rejected = np.where(unknown, np.nan, (scores < thresholds[:, None, None]).astype(float))
    kept = 1 - rejected
    escalation = _means(evidence, nan_mean(rejected), shrunk=shrunk)
    columns = (
        np.full(len(thresholds), start),
        np.full(len(thresholds), target),
        thresholds,
        _accuracy(evidence, nan_mean(kept * correct + rejected * instead), shrunk=shrunk),
        _means(evidence, nan_mean((kept + rejected * first) * cost), shrunk=shrunk),
        _means(evidence, nan_mean(rejected * second_cost), shrunk=shrunk),
        escalation,
    )
    if not shrunk:
        return columns
    share = nan_mean(nan_mean(rejected))
    useful = (share >= MIN_ESCALATION) & (share <= MAX_ESCALATION)
    return tuple(column[useful] for column in columns)


def _accuracy(evidence: Evidence, correct: Floats, *, shrunk: bool) -> Floats:
    """Cluster means of what each option gets right on each query (options, queries).

    How easy a cluster's queries are is the same for every option, and differs a lot between clusters; what options
    differ by is what plans are chosen on, and is small. So only the differences shrink.
    """
    if not shrunk:
        return _means(evidence, correct, shrunk=False)
    of_model = nan_mean(evidence.correct)
    ease = np.nan_to_num(nan_mean(of_model - nan_mean(of_model.T)))
    found = _means(evidence, correct - ease, shrunk=True) + _means(evidence, ease[None], shrunk=False)
    return np.clip(found, 0.0, 1.0)


def _means(evidence: Evidence, values: Floats, *, shrunk: bool) -> Floats:
    """Cluster means of per-query values (options, queries); a cluster without a value takes the overall mean."""
    mean, count, variance = cluster_moments(values, evidence.labels, evidence.clusters)
    if shrunk:
        return shrink(mean, count, variance)
    return np.where(count > 0, mean, nan_mean(values)[:, None])
