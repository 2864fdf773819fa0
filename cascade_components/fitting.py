"""Outcomes → policy: the only room that knows both learning and planning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from cascade_components.arrays import Floats, Labels, nan_mean
from cascade_components.cascade import QualityEstimator
from cascade_components.cluster_count import best_cluster_count
from cascade_components.clustering import QueryClusterer, nearest
from cascade_components.encoders import (
    CACHE_SIZE,
    DEFAULT_ENCODER,
    CachedEncoder,
    Encoder,
    SentenceTransformerEncoder,
    encode_with_progress,
)
from cascade_components.evidence import Evidence
from cascade_components.judging import judge_answers
from cascade_components.options import OptionTable, option_table
from cascade_components.outcomes import Metric, load_outcomes
from cascade_components.planning import Planner, Strategy, Target
from cascade_components.policy import CascadePolicy
from cascade_components.pricing import token_price
from cascade_components.tables import OutcomeTable

DEFAULT_RETENTION = 0.98

Quality = Literal["embedding"]


def fit(
    outcomes: Any,
    *,
    encoder: str | Encoder = DEFAULT_ENCODER,
    cost: Metric = "cost_usd",
    budget: float | None = None,
    retention: float | None = None,
    cost_weight: float | None = None,
    confidence: float | None = None,
    strategy: Strategy = "joint",
    quality: Quality | QualityEstimator | None = "embedding",
    clusters: int | Literal["auto"] = "auto",
    seed: int = 0,
    progress: bool = True,
) -> CascadePolicy:
    """Learn a policy from outcomes.

    Args:
        outcomes: Whatever `load_outcomes` takes; at least two models.
        encoder: Name or folder of a sentence-transformers model, or a callable list[str] → array (n, dim).
        cost: Which measurement is Cost: `cost_usd`, `tpot_ms` or `e2el_ms`.
        budget: Mean cost per query, in the metric's units; for both stages together ("sequential": Stage 1 alone).
        retention: Share of the strongest model's accuracy to keep.
        cost_weight: λ itself, in Eq. 2 units. At most one of the three; none means retention = 0.98.
        confidence: Not available in this version.
        strategy: "joint" plans both stages together; "sequential" is the procedure of arXiv 2606.27457.
        quality: "embedding" trains an `EmbeddingHead` for each model; an estimator of your own is trained
            out-of-fold if it has `fit`; None: Stage 1 only.
        clusters: How many; "auto" chooses by held-out routing utility (sequential: by silhouette).
        seed: Seed of everything random.
        progress: Show progress bars on a terminal.

    Returns:
        The policy, planned for the target.

    Raises:
        ValueError: The outcomes or an argument are bad, or the target cannot be met.

    Example:
        >>> policy = fit("outcomes.jsonl.gz", retention=0.95)   # doctest: +SKIP
        >>> print(policy.describe())                            # doctest: +SKIP
    """
    target = _target(budget, retention, cost_weight)
    _check(cost, strategy, quality, clusters, confidence)
    loaded = load_outcomes(outcomes)
    if len(loaded.models) < 2:
        msg = f"A cascade needs outcomes of at least two models, found {', '.join(loaded.models)}."
        raise ValueError(msg)
    table = OutcomeTable.of(loaded)
    cached = CachedEncoder(
        SentenceTransformerEncoder(encoder) if isinstance(encoder, str) else encoder,
        size=CACHE_SIZE + len(table.queries) + len(loaded),
    )
    vectors = encode_with_progress(cached, table.queries, "queries", progress=progress).astype(float)
    cost_values = table.cost(cost)
    clusterer = _cluster(vectors, table, cost_values, strategy, clusters, seed)
    judged = judge_answers(table, cached, quality, strategy, seed, progress=progress)
    cached.trim(CACHE_SIZE)
    evidence = Evidence(
        table.models,
        table.query_ids,
        clusterer.labels_,
        table.values("correct"),
        cost_values,
        table.values("output_tokens"),
        judged.scores,
    ).ordered()
    options = _options(evidence, cost, strategy)
    prices = {model: token_price(row for row in loaded if row.model == model) for model in loaded.models}
    return CascadePolicy(
        encoder=cached,
        metric=cost,
        strategy=strategy,
        target=target,
        centroids=clusterer.centroids_,
        radius=clusterer.radius_,
        evidence=evidence,
        table=options,
        estimators=judged.estimators,
        quality=quality if quality is None or isinstance(quality, str) else "foreign",
        prices={model: price for model, price in prices.items() if price is not None},
        point=Planner(options, {}, strategy).at(target),
        seed=seed,
        releases=judged.releases,
    )


def add_model(policy: CascadePolicy, model: str, outcomes: Any) -> CascadePolicy:
    """The policy of the pool with a new model. Clusters and the other models' estimators stay as they are.

    Args:
        policy: A fitted policy.
        model: The new model's name.
        outcomes: Whatever `load_outcomes` takes; its rows of this model are joined by `query_id` with those of the
            fit. Any subset of the queries will do, and new queries too.

    Raises:
        ValueError: The model is in the policy already, or the outcomes hold no row of it.

    Example:
        >>> policy = add_model(policy, "new", "outcomes-new.jsonl")   # doctest: +SKIP
    """
    if model in policy.models:
        msg = f"{model} is in the policy already; remove_model({model!r}) first to replace its outcomes."
        raise ValueError(msg)
    loaded = load_outcomes(outcomes)
    if model not in loaded.models:
        msg = f"The outcomes hold no row of {model}, only of {', '.join(loaded.models)}."
        raise ValueError(msg)
    table = OutcomeTable.of(loaded.where(lambda row: row.model == model))
    quality = _again(policy)
    judged = judge_answers(table, policy.encoder, quality, policy.strategy, policy.seed, progress=False)
    labels, _ = nearest(policy.encoder(table.queries).astype(float), policy.centroids)
    joined = _join(policy.evidence, model, table, labels, table.cost(policy.metric), judged.scores).ordered()
    price = token_price(table.outcomes)
    return policy.replanned(
        evidence=joined,
        table=_options(joined, policy.metric, policy.strategy),
        estimators={**policy.estimators, **judged.estimators},
        releases={**policy.releases, **judged.releases},
        prices={**policy.prices, **({} if price is None else {model: price})},
    )


def _target(budget: float | None, retention: float | None, cost_weight: float | None) -> Target:
    if budget is None and retention is None and cost_weight is None:
        return Target(retention=DEFAULT_RETENTION)
    return Target(budget, retention, cost_weight)


def _check(cost: str, strategy: str, quality: object, clusters: object, confidence: float | None) -> None:
    allowed: list[tuple[str, object, tuple[object, ...]]] = [
        ("cost", cost, get_args(Metric)),
        ("strategy", strategy, get_args(Strategy)),
    ]
    if quality is not None and not hasattr(quality, "predict_proba"):
        allowed.append(("quality", quality, (*get_args(Quality), None, "an object with predict_proba")))
    if not (isinstance(clusters, int) and clusters >= 1):
        allowed.append(("clusters", clusters, ("auto", "a positive int")))
    for name, value, values in allowed:
        if value not in values:
            msg = f"{name} must be one of {', '.join(map(str, values))}; found {value!r}."
            raise ValueError(msg)
    if confidence is not None:
        msg = "confidence= (a certificate for the retention) is not available in this version; leave it out."
        raise ValueError(msg)


def _cluster(
    vectors: Floats, table: OutcomeTable, cost: Floats, strategy: Strategy, clusters: int | Literal["auto"], seed: int
) -> QueryClusterer:
    if clusters != "auto":
        return QueryClusterer(clusters, seed=seed).fit(vectors)
    if strategy == "sequential":
        return QueryClusterer("silhouette", seed=seed).fit(vectors)
    correct = nan_mean(table.values("correct"))
    return QueryClusterer(best_cluster_count(vectors, correct, nan_mean(cost), seed=seed), seed=seed).fit(vectors)


def _options(evidence: Evidence, metric: Metric, strategy: Strategy) -> OptionTable:
    if strategy == "sequential":
        return option_table(evidence, metric, thresholds=[0.5], shrunk=False)
    return option_table(evidence, metric)


def _again(policy: CascadePolicy) -> str | QualityEstimator | None:
    """What the policy's estimators are made from."""
    if policy.quality != "foreign":
        return policy.quality
    return next((found.estimator for found in policy.estimators.values()), None)


def _join(old: Evidence, model: str, table: OutcomeTable, labels: Labels, cost: Floats, scores: Floats) -> Evidence:
    """The fit's evidence with one more model; queries that are new get rows of their own."""
    at = {query_id: row for row, query_id in enumerate(old.query_ids)}
    added = [row for row, query_id in enumerate(table.query_ids) if query_id not in at]
    at |= {table.query_ids[row]: len(at) + number for number, row in enumerate(added)}
    rows = [at[query_id] for query_id in table.query_ids]
    runs = max(old.correct.shape[2], table.cells.shape[2])

    def joined(before: Floats, new: Floats) -> Floats:
        whole = np.full((len(at), len(old.models) + 1, runs), np.nan)
        whole[: len(before), :-1, : before.shape[2]] = before
        whole[rows, -1, : new.shape[2]] = new[:, 0]
        return whole

    return replace(
        old,
        models=(*old.models, model),
        query_ids=tuple(at),
        labels=np.concatenate([old.labels, labels[added]]),
        correct=joined(old.correct, table.values("correct")),
        cost=joined(old.cost, cost),
        output_tokens=joined(old.output_tokens, table.values("output_tokens")),
        scores=joined(old.scores, scores),
    )
