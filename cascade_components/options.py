"""The option table: every plan a cluster could get, with its expected accuracy and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cascade_components.accounting import pass_shares
from cascade_components.arrays import Floats, Labels, cluster_moments, nan_mean
from cascade_components.evidence import Evidence
from cascade_components.pool import PoolStats, shrink
from cascade_components.progress import with_bar
from cascade_components.trace import Plan
from cascade_components.worth import Scale, Worth

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
        shrunk: Whether cluster means shrink (empirical Bayes), as "joint" needs; the paper takes them as they are.
    """
    return weighed_options(evidence, metric, thresholds=thresholds, shrunk=shrunk)[0]


def weighed_options(
    evidence: Evidence,
    metric: str,
    *,
    thresholds: Sequence[float] | None = None,
    shrunk: bool = True,
    progress: bool = False,
) -> tuple[OptionTable, Worth | None]:
    """`option_table`, and what plans can be tried with on queries held out; None where nothing shrinks."""
    scale = Scale(evidence) if shrunk else None
    parts = [_ungated(evidence, start, scale) for start in range(len(evidence.models))]
    for start in with_bar(range(len(evidence.models)), "work out options", progress=progress):
        scores = evidence.scores[:, start]
        known = scores[~np.isnan(scores)]
        if not known.size:
            continue
        candidates = candidate_thresholds(known) if thresholds is None else np.asarray(thresholds, float)
        stronger = range(start + 1, len(evidence.models))
        parts += [_gated(evidence, metric, start, target, candidates, scale) for target in stronger]
    columns = [np.concatenate(column) for column in zip(*(part.columns for part in parts), strict=True)]
    start_, target_, threshold, accuracy, start_cost, target_cost, escalation = columns
    worth = None
    if scale is not None:
        worth = Worth.joined([part.worth for part in parts if part.worth is not None])
        ease = _means(evidence, scale.ease[None], shrunk=False)
        accuracy = np.clip(worth.estimate + ease, 0.0, 1.0)
    table = OptionTable(
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
    return table, worth


@dataclass(frozen=True)
class _Part:
    """Some options: the columns of the table, and their worth."""

    columns: tuple[Floats, ...]
    worth: Worth | None


def _ungated(evidence: Evidence, start: int, scale: Scale | None) -> _Part:
    correct = nan_mean(evidence.correct[:, start])[None]
    cost = _means(evidence, nan_mean(evidence.cost[:, start])[None], shrunk=scale is not None)
    zero = np.zeros_like(cost)
    accuracy = _means(evidence, correct, shrunk=False)
    columns = np.array([start]), np.array([-1]), np.array([np.nan]), accuracy, cost, zero, zero
    return _Part(columns, None if scale is None else scale.weigh(correct))


def _gated(evidence: Evidence, metric: str, start: int, target: int, thresholds: Floats, scale: Scale | None) -> _Part:
    """The start model gated by each threshold, query by query, then cluster by cluster."""
    correct, cost, tokens, scores = (
        array[:, start] for array in (evidence.correct, evidence.cost, evidence.output_tokens, evidence.scores)
    )
    instead = nan_mean(evidence.correct[:, target])[:, None]
    first, second = pass_shares(metric, tokens, nan_mean(evidence.output_tokens[:, target])[:, None])
    second_cost = second * nan_mean(evidence.cost[:, target])[:, None]
    unknown = np.isnan(scores) | np.isnan(instead)
    rejected = np.where(unknown, np.nan, (scores < thresholds[:, None, None]).astype(float))
    if scale is not None:
        share = nan_mean(nan_mean(rejected))
        useful = (share >= MIN_ESCALATION) & (share <= MAX_ESCALATION)
        thresholds, rejected = thresholds[useful], rejected[useful]
    kept, shrunk = 1 - rejected, scale is not None
    right = nan_mean(kept * correct + rejected * instead)
    columns = (
        np.full(len(thresholds), start),
        np.full(len(thresholds), target),
        thresholds,
        _means(evidence, right, shrunk=False),
        _means(evidence, nan_mean((kept + rejected * first) * cost), shrunk=shrunk),
        _means(evidence, nan_mean(rejected * second_cost), shrunk=shrunk),
        _means(evidence, nan_mean(rejected), shrunk=shrunk),
    )
    return _Part(columns, None if scale is None or not len(thresholds) else scale.weigh(right))


def _means(evidence: Evidence, values: Floats, *, shrunk: bool) -> Floats:
    """Cluster means of per-query values (options, queries); a cluster without a value takes the overall mean."""
    mean, count, variance = cluster_moments(values, evidence.labels, evidence.clusters)
    if shrunk:
        return shrink(mean, count, variance)
    return np.where(count > 0, mean, nan_mean(values)[:, None])
