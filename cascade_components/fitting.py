"""Outcomes → policy: the only room that knows both learning and planning."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from cascade_components.arrays import Floats, nan_mean
from cascade_components.cascade import QualityEstimator
from cascade_components.certifying import calibration_split, certify, check_claim
from cascade_components.cluster_count import best_cluster_count
from cascade_components.clustering import QueryClusterer, coordinates, nearest
from cascade_components.encoders import (
    CACHE_SIZE,
    DEFAULT_ENCODER,
    CachedEncoder,
    Encoder,
    SentenceTransformerEncoder,
    encode_with_progress,
)
from cascade_components.evidence import Evidence
from cascade_components.judging import Gate, judge_answers
from cascade_components.optimism import NO_OPTIMISM, Optimism, measure_optimism
from cascade_components.options import OptionTable, option_table, weighed_options
from cascade_components.outcomes import Metric, load_outcomes
from cascade_components.planning import Planner, Strategy, Target
from cascade_components.policy import CascadePolicy
from cascade_components.pricing import token_price
from cascade_components.releasing import release_rules
from cascade_components.tables import OutcomeTable

if TYPE_CHECKING:
    from torch import nn

DEFAULT_RETENTION = 0.98

Quality = Literal["embedding", "sequence", "margins"]


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
    quality: Quality | QualityEstimator | nn.Module | None = "embedding",
    gate: Gate = "gain",
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
        confidence: With `retention`: ask for a certificate at this confidence, such as 0.95. Half of the queries are
            then kept from fitting to test on, and the policy is the cheapest that passes, or always asks the strongest
            model (see `certify`).
        strategy: "joint" plans both stages together; "sequential" is the procedure of arXiv 2606.27457.
        quality: "embedding" trains an `EmbeddingHead` for each model, "sequence" a `SequenceHead` (fetches the
            paper's checkpoint; wants a GPU), "margins" a `MarginEstimator` (needs token margins or log-probabilities
            in the outcomes). An estimator of your own is trained out-of-fold if it has `fit`; an `nn.Module` without
            `predict_proba` is trained as a `ModuleEstimator`. None: Stage 1 only.
        gate: What gates weigh. "gain": P(correct) against the strongest model's chance on the same query, as far as
            this was of use on training answers; "error": P(correct) alone. Estimators other than "embedding", and the
            sequential strategy, know but the latter.
        clusters: How many; "auto" chooses by held-out routing utility (sequential: by silhouette).
        seed: Seed of everything random.
        progress: Show progress bars on a terminal.

    Returns:
        The policy, planned for the target.

    Raises:
        ValueError: The outcomes or an argument are bad, or the target cannot be met; the message says what can.

    Example:
        >>> policy = fit("outcomes.jsonl.gz", retention=0.95)   # doctest: +SKIP
        >>> print(policy.describe())                            # doctest: +SKIP
    """
    target = _target(budget, retention, cost_weight)
    _check(cost, strategy, quality, gate, clusters)
    loaded = load_outcomes(outcomes)
    held_out = None
    if confidence is not None:
        _check_confidence(target, confidence)
        loaded, held_out = calibration_split(loaded, seed=seed)
    if len(loaded.models) < 2:
        msg = f"A cascade needs outcomes of at least two models, found {', '.join(loaded.models)}."
        raise ValueError(msg)
    table = OutcomeTable.of(loaded)
    costs = table.cost(cost)
    cached = CachedEncoder(
        SentenceTransformerEncoder(encoder) if isinstance(encoder, str) else encoder,
        size=CACHE_SIZE + len(table.queries) + len(loaded),
    )
    vectors = encode_with_progress(cached, table.queries, "queries", progress=progress).astype(float)
    clusterer = _cluster(vectors, table, strategy, clusters, seed)
    evidence = Evidence(
        table.models,
        table.query_ids,
        clusterer.labels_,
        table.values("correct"),
        costs,
        table.values("output_tokens"),
        np.full(table.cells.shape, np.nan),
        coordinates(vectors, clusterer.centroids_),
    )
    rivals = _rivals(evidence, evidence, gate, strategy)
    judged = judge_answers(table, cached, quality, strategy, seed, rivals=rivals, progress=progress)
    releases = release_rules(judged, cached, quality, strategy, seed, progress=progress)
    cached.trim(CACHE_SIZE)
    evidence = replace(evidence, scores=judged.scores).ordered()
    options, optimism = _options(evidence, cost, strategy)
    prices = {model: token_price(row for row in loaded if row.model == model) for model in loaded.models}
    policy = CascadePolicy(
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
        point=Planner(options, {}, strategy, optimism).at(target),
        seed=seed,
        releases=releases,
        gate=gate,
        optimism=optimism,
    )
    if confidence is None or held_out is None:
        return policy
    certified, certificate = certify(
        policy, held_out, retention=target.retention or 0.0, confidence=confidence, progress=progress
    )
    if not certificate.certified:
        logging.getLogger(__name__).warning("%s", certificate)
    return replace(certified, certificate=certificate)


def add_model(policy: CascadePolicy, model: str, outcomes: Any, *, progress: bool = True) -> CascadePolicy:
    """The policy of the pool with a new model. Clusters and the other models' estimators stay as they are.

    Args:
        policy: A fitted policy.
        model: The new model's name.
        outcomes: Whatever `load_outcomes` takes; its rows of this model are joined by `query_id` with those of the
            fit. Any subset of the queries will do, and new queries too.
        progress: Show progress bars on a terminal.

    Raises:
        ValueError: The model is in the policy already, or the outcomes hold no row of it.

    Example:
        >>> policy = add_model(policy, "new", "outcomes-new.jsonl")   # doctest: +SKIP
    """
    if model in policy.models:
        msg = f"{model} is in the policy already; remove_model({model!r}) first to replace its outcomes."
        raise ValueError(msg)
    if not policy.evidence.query_ids:
        msg = "This policy was made from statistics, without the outcomes of single queries: no model can be added. "
        raise ValueError(msg + "Fit a new one from outcomes.")
    loaded = load_outcomes(outcomes)
    if model not in loaded.models:
        msg = f"The outcomes hold no row of {model}, only of {', '.join(loaded.models)}."
        raise ValueError(msg)
    table = OutcomeTable.of(loaded.where(lambda row: row.model == model))
    quality = _again(policy)
    vectors = policy.encoder(table.queries).astype(float)
    labels, _ = nearest(vectors, policy.centroids)
    bare = Evidence(
        table.models,
        table.query_ids,
        labels,
        table.values("correct"),
        table.cost(policy.metric),
        table.values("output_tokens"),
        np.full(table.cells.shape, np.nan),
        coordinates(vectors, policy.centroids),
    )
    rivals = _rivals(bare, policy.evidence, policy.gate, policy.strategy)
    judged = judge_answers(
        table, policy.encoder, quality, policy.strategy, policy.seed, rivals=rivals, progress=progress
    )
    releases = release_rules(judged, policy.encoder, quality, policy.strategy, policy.seed, progress=progress)
    joined = policy.evidence.joined(replace(bare, scores=judged.scores)).ordered()
    options, optimism = _options(joined, policy.metric, policy.strategy)
    price = token_price(table.outcomes)
    return policy.replanned(
        evidence=joined,
        table=options,
        optimism=optimism,
        estimators={**policy.estimators, **judged.estimators},
        releases={**policy.releases, **releases},
        prices={**policy.prices, **({} if price is None else {model: price})},
    )


def _target(budget: float | None, retention: float | None, cost_weight: float | None) -> Target:
    if budget is None and retention is None and cost_weight is None:
        return Target(retention=DEFAULT_RETENTION)
    return Target(budget, retention, cost_weight)


def _check_confidence(target: Target, confidence: float) -> None:
    if target.retention is None:
        msg = f"confidence= certifies a retention, and the target is a {target}: give retention= with it, or neither."
        raise ValueError(msg)
    check_claim(target.retention, confidence)


def _check(cost: str, strategy: str, quality: object, gate: str, clusters: object) -> None:
    allowed: list[tuple[str, object, tuple[object, ...]]] = [
        ("cost", cost, get_args(Metric)),
        ("strategy", strategy, get_args(Strategy)),
        ("gate", gate, get_args(Gate)),
    ]
    if quality is not None and not hasattr(quality, "predict_proba") and not _is_module(quality):
        known = (*get_args(Quality), None, "an nn.Module", "an object with predict_proba")
        allowed.append(("quality", quality, known))
    if not (isinstance(clusters, int) and clusters >= 1):
        allowed.append(("clusters", clusters, ("auto", "a positive int")))
    for name, value, values in allowed:
        if value not in values:
            msg = f"{name} must be one of {', '.join(map(str, values))}; found {value!r}."
            raise ValueError(msg)


def _is_module(found: object) -> bool:
    from torch import nn

    return isinstance(found, nn.Module)


def _cluster(
    vectors: Floats, table: OutcomeTable, strategy: Strategy, clusters: int | Literal["auto"], seed: int
) -> QueryClusterer:
    if clusters != "auto":
        return QueryClusterer(clusters, seed=seed).fit(vectors)
    if strategy == "sequential":
        return QueryClusterer("silhouette", seed=seed).fit(vectors)
    return QueryClusterer(best_cluster_count(vectors, nan_mean(table.values("correct")), seed=seed), seed=seed).fit(
        vectors
    )


def _rivals(evidence: Evidence, pool: Evidence, gate: Gate, strategy: Strategy) -> Floats | None:
    """Whether the pool's strongest model was right on the queries of each model, shape (models, queries).

    NaN where it was not asked, and for itself; None where gates weigh errors alone, as those of the paper do.
    """
    if gate == "error" or strategy == "sequential":
        return None
    strongest = pool.ordered().models[-1]
    right = dict(zip(pool.query_ids, nan_mean(pool.correct[:, pool.models.index(strongest)]), strict=True))
    row = np.array([right.get(query_id, np.nan) for query_id in evidence.query_ids])
    return np.array([row if model != strongest else np.full(len(row), np.nan) for model in evidence.models])


def _options(evidence: Evidence, metric: Metric, strategy: Strategy) -> tuple[OptionTable, Optimism]:
    if strategy == "sequential":
        return option_table(evidence, metric, thresholds=[0.5], shrunk=False), NO_OPTIMISM
    options, worth = weighed_options(evidence, metric)
    planner = Planner(options, {}, strategy)
    return options, measure_optimism(options, worth, planner.cost, planner.unit) if worth else NO_OPTIMISM


def _again(policy: CascadePolicy) -> str | QualityEstimator | None:
    """What the policy's estimators are made from."""
    if policy.quality != "foreign":
        return policy.quality
    return next((found.estimator for found in policy.estimators.values()), None)
