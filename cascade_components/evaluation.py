"""Replay a policy on outcomes: what it would have got right, and what that would have cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_components.accounting import escalated_cost
from cascade_components.arrays import Floats, Labels, nan_mean
from cascade_components.clustering import nearest
from cascade_components.encoders import encode_with_progress, read_ahead
from cascade_components.outcomes import load_outcomes
from cascade_components.policy import CascadePolicy
from cascade_components.quality.features import readable_text
from cascade_components.tables import OutcomeTable
from cascade_components.trace import Plan

CONFIDENCE = 0.95
DRAWS = 2000


@dataclass(frozen=True)
class ClusterEvaluation:
    """The replay of one cluster's queries; cluster None holds those out of the map."""

    cluster: int | None
    plan: str
    queries: int
    accuracy: float
    cost: float
    escalation_rate: float


@dataclass(frozen=True)
class Evaluation:
    """A policy's replay on labelled queries; costs are means per query under the policy's metric.

    Example:
        >>> ev = evaluate(policy, "test.jsonl")                      # doctest: +SKIP
        >>> f"{ev.retention:.1%} of the accuracy at {ev.cost / ev.strongest_cost:.0%} of the cost"   # doctest: +SKIP
    """

    accuracy: float
    cost: float
    retention: float
    """Accuracy as a share of the strongest model's on the same queries."""
    escalation_rate: float
    tpot_ms: float | None
    """Of the whole answer, rejected drafts included; None where not measured."""
    e2el_ms: float | None
    strongest_accuracy: float
    strongest_cost: float
    metric: str
    cost_weight: float
    queries: int
    skipped: int
    """Queries left out, for want of the outcome of a model that the plan asks."""
    by_cluster: tuple[ClusterEvaluation, ...]
    per_query: dict[str, Floats] = field(repr=False, compare=False)
    """Accuracy, cost and escalation of each query, and the strongest model's accuracy and cost."""
    seed: int = 0

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % bootstrap intervals over queries, of accuracy, cost, retention and escalation_rate."""
        names = ("accuracy", "cost", "escalation_rate", "strongest_accuracy")
        return bootstrap_intervals({name: self.per_query[name] for name in names}, self.seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, without the per-query arrays."""
        plain = {k: v for k, v in vars(self).items() if k not in ("per_query", "by_cluster", "seed", "intervals")}
        plain["by_cluster"] = [asdict(row) for row in self.by_cluster]
        plain["intervals"] = {name: list(bounds) for name, bounds in self.intervals.items()}
        return plain


def evaluate(policy: CascadePolicy, outcomes: Any, *, progress: bool = True) -> Evaluation:
    """Replay the policy on outcomes; no model is called.

    Args:
        policy: A fitted policy.
        outcomes: Whatever `load_outcomes` takes, with rows of the policy's models.
        progress: Show progress bars on a terminal.

    Raises:
        ValueError: The outcomes are bad, or no query has the rows that the plans need.
    """
    return Replay(policy, outcomes, progress=progress).run(policy)


def sweep(policy: CascadePolicy, outcomes: Any, *, progress: bool = True) -> list[Evaluation]:
    """Replay every operating point of the policy's own front, found on its training data, from cheap to accurate.

    Args:
        policy: A fitted policy.
        outcomes: Whatever `load_outcomes` takes, with rows of the policy's models.
        progress: Show progress bars on a terminal.

    Raises:
        ValueError: As `evaluate`.
    """
    replay = Replay(policy, outcomes, progress=progress)
    return [replay.run(point) for point in policy.front()]


def bootstrap_intervals(per_query: Mapping[str, Floats], seed: int) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of means over queries; of the retention instead of `strongest_accuracy`.

    Args:
        per_query: Arrays of shape (queries,) by name, `accuracy` and `strongest_accuracy` among them. Only queries of
            which all are known count.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    columns = np.stack(list(per_query.values()))
    columns = columns[:, ~np.isnan(columns).any(0)]
    count = columns.shape[1]
    if not count:
        return dict.fromkeys([name.replace("strongest_accuracy", "retention") for name in per_query], (np.nan, np.nan))
    draws = np.stack([columns[:, rng.integers(count, size=count)].mean(1) for _ in range(DRAWS)], 1)
    means = dict(zip(per_query, draws, strict=True))
    means["retention"] = means["accuracy"] / np.maximum(means.pop("strongest_accuracy"), 1e-12)
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    return {name: (float(low), float(high)) for name, (low, high) in _quantiles(means, tails).items()}


def _quantiles(values: dict[str, Floats], levels: list[float]) -> dict[str, Floats]:
    return {name: np.quantile(draws, levels) for name, draws in values.items()}


class Replay:
    """Vectors, scores and costs of the outcomes, worked out once for all operating points and plans.

    Args:
        policy: A fitted policy.
        outcomes: Whatever `load_outcomes` takes, with rows of the policy's models.
        progress: Show progress bars on a terminal.
    """

    def __init__(self, policy: CascadePolicy, outcomes: Any, *, progress: bool) -> None:
        self.table = OutcomeTable.of(load_outcomes(outcomes), policy.models)
        vectors = encode_with_progress(policy.encoder, self.table.queries, "queries", progress=progress)
        self.labels, distances = nearest(vectors.astype(float), policy.centroids)
        self.labels = np.where(distances > policy.radius[self.labels], -1, self.labels)
        factors = np.array([policy.factors.get(model, 1.0) for model in policy.models])
        self.correct = self.table.values("correct")
        self.tokens = self.table.values("output_tokens")
        self.costs = {"cost": self.table.cost(policy.metric) * factors[:, None]}
        self.costs |= {name: self.table.values(name) for name in ("tpot_ms", "e2el_ms")}
        self.metrics = {"cost": policy.metric, "tpot_ms": "tpot_ms", "e2el_ms": "e2el_ms"}
        self.scores = self._scores(policy, progress=progress)

    def _scores(self, policy: CascadePolicy, *, progress: bool) -> Floats:
        scores = np.full(self.table.cells.shape, np.nan)
        gated = set(policy.table.start[policy.table.target >= 0].tolist())
        for position in sorted(gated):
            rows = self.table.answers(position)
            if not rows:
                continue
            if policy.quality == "embedding":
                texts = [readable_text(row.answer) or " " for _, _, row in rows]
                read_ahead(policy.encoder, texts, "answers", progress=progress)
            estimator = policy.estimators[policy.models[position]]
            answers = [row.answer for *_, row in rows]
            found = estimator.gate_scores([row.query for *_, row in rows], answers)
            for (query, run, _), score in zip(rows, found, strict=True):
                scores[query, position, run] = score
        return scores

    def run(self, policy: CascadePolicy, plans: Sequence[Plan] | None = None) -> Evaluation:
        """Replay the policy.

        Args:
            policy: The policy, at any operating point.
            plans: Other plans than its own: one for each cluster, and last the one for queries out of the map.

        Raises:
            ValueError: No query has the rows that the plans need.
        """
        plans = policy.every_plan if plans is None else plans
        columns = self.columns(policy, plans)
        used = ~np.isnan(columns["accuracy"])
        if not used.any():
            models = ", ".join(sorted({plan.start for plan in plans}))
            msg = f"No query has the outcomes that the plans ask for ({models}); check the models' names."
            raise ValueError(msg)
        return self._evaluation(policy, plans, {name: column[used] for name, column in columns.items()}, used)

    def columns(self, policy: CascadePolicy, plans: Sequence[Plan]) -> dict[str, Floats]:
        """What the plans (as of `run`) make of each query: arrays of shape (queries,), NaN where rows are missing."""
        columns = {name: np.full(len(self.labels), np.nan) for name in ("accuracy", "escalation_rate", *self.costs)}
        for plan in set(plans):
            mine = [cluster if cluster < len(plans) - 1 else -1 for cluster, other in enumerate(plans) if other == plan]
            queries = np.flatnonzero(np.isin(self.labels, mine))
            for name, values in self._replayed(policy, plan, queries).items():
                columns[name][queries] = values
        columns["strongest_accuracy"] = nan_mean(self.correct[:, -1])
        columns["strongest_cost"] = nan_mean(self.costs["cost"][:, -1])
        return columns

    def rejected(self, policy: CascadePolicy, plan: Plan, queries: Labels) -> NDArray[np.bool_]:
        """Which answers of the start model a gated plan escalates, shape (queries, runs)."""
        # A row without an output cannot be judged: its answer stands.
        scores = np.nan_to_num(self.scores[queries, policy.models.index(plan.start)], nan=np.inf)
        return np.asarray(scores < (-np.inf if plan.threshold is None else plan.threshold))

    def _replayed(self, policy: CascadePolicy, plan: Plan, queries: Labels) -> dict[str, Floats]:
        """Accuracy, escalation and costs of some queries under one plan; runs are averaged."""
        start = policy.models.index(plan.start)
        correct = self.correct[queries, start]
        if plan.target is None or plan.threshold is None:
            found = {"accuracy": nan_mean(correct), "escalation_rate": np.where(np.isnan(correct).all(-1), np.nan, 0.0)}
            return found | {name: nan_mean(values[queries, start]) for name, values in self.costs.items()}
        target = policy.models.index(plan.target)
        rejected = self.rejected(policy, plan, queries)
        second = nan_mean(self.correct[queries, target])[:, None]
        found = {
            "accuracy": nan_mean(np.where(rejected, second, correct)),
            "escalation_rate": nan_mean(np.where(np.isnan(correct), np.nan, rejected.astype(float))),
        }
        tokens = self.tokens[queries, start], nan_mean(self.tokens[queries, target])[:, None]
        for name, values in self.costs.items():
            first, other = values[queries, start], nan_mean(values[queries, target])[:, None]
            found[name] = nan_mean(np.where(rejected, escalated_cost(self.metrics[name], first, other, *tokens), first))
        return found

    def _evaluation(
        self, policy: CascadePolicy, plans: Sequence[Plan], columns: dict[str, Floats], used: Labels
    ) -> Evaluation:
        labels = self.labels[used]
        mean = {name: float(np.nanmean(v)) if not np.isnan(v).all() else None for name, v in columns.items()}
        both = ~np.isnan(columns["strongest_accuracy"])
        strongest = float(columns["strongest_accuracy"][both].mean()) if both.any() else float("nan")
        kept = float(columns["accuracy"][both].mean()) / strongest if both.any() and strongest > 0 else float("nan")
        by_cluster = tuple(
            ClusterEvaluation(
                cluster=None if cluster < 0 else int(cluster),
                plan=str(plans[cluster]),
                queries=int((labels == cluster).sum()),
                accuracy=float(columns["accuracy"][labels == cluster].mean()),
                cost=float(columns["cost"][labels == cluster].mean()),
                escalation_rate=float(columns["escalation_rate"][labels == cluster].mean()),
            )
            for cluster in sorted(set(labels.tolist()), key=lambda c: (c < 0, c))
        )
        return Evaluation(
            accuracy=mean["accuracy"] or 0.0,
            cost=mean["cost"] or 0.0,
            retention=kept,
            escalation_rate=mean["escalation_rate"] or 0.0,
            tpot_ms=mean["tpot_ms"],
            e2el_ms=mean["e2el_ms"],
            strongest_accuracy=strongest,
            strongest_cost=mean["strongest_cost"] if mean["strongest_cost"] is not None else float("nan"),
            metric=policy.metric,
            cost_weight=policy.point.cost_weight,
            queries=len(labels),
            skipped=int((~used).sum()),
            by_cluster=by_cluster,
            per_query={name: columns[name] for name in _PER_QUERY},
            seed=policy.seed,
        )


_PER_QUERY = ("accuracy", "cost", "escalation_rate", "strongest_accuracy", "strongest_cost")
