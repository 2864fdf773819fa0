"""Outcomes → policy: the only room that knows both learning and planning."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cascade_components.arrays import Floats, Labels, nan_mean
from cascade_components.cascade import QualityEstimator
from cascade_components.certifying import calibration_split, certify
from cascade_components.cluster_count import find_clusters
from cascade_components.clustering import coordinates, evenly, nearest
from cascade_components.embedding_cache import Cache, kept_on_disk
from cascade_components.encoders import (
    CACHE_SIZE,
    DEFAULT_ENCODER,
    CachedEncoder,
    Encoder,
    encode_with_progress,
    encoder_from_spec,
)
from cascade_components.evidence import Evidence
from cascade_components.fit_arguments import Quality, check_choices, check_confidence, checked_target
from cascade_components.judging import MOST_ANSWERS, READ_BESIDES, Gate, Judged, judge_answers
from cascade_components.optimism import NO_OPTIMISM, Optimism, measure_optimism
from cascade_components.options import OptionTable, option_table, weighed_options
from cascade_components.outcomes import Metric, Outcomes, load_outcomes
from cascade_components.planning import Planner, Strategy, Target
from cascade_components.policy import CascadePolicy
from cascade_components.pricing import token_prices
from cascade_components.releasing import release_rules
from cascade_components.tables import OutcomeTable

if TYPE_CHECKING:
    from torch import nn


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
    cache: Cache = True,
    progress: bool = True,
) -> CascadePolicy:
    """Learn a policy from outcomes.

    Time and memory grow linearly with the outcomes. Of a model's answers 20,000 at most are read, embedded and learned
    from, chosen so that each cluster of queries has its share; whether they were right counts for all of them.

    Args:
        outcomes: Whatever `load_outcomes` takes; at least two models.
        encoder: Name or folder of a sentence-transformers model (after `onnx:` in 8 bits, after `distilled:` as static
            embeddings), `static:` and static embeddings of model2vec's format, or a callable list[str] → array
            (n, dim).
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
        cache: Where embeddings are kept, so that the next fit, or one that was cut short, does not embed again: a file,
            True (a file in the user's cache folder, or in that of the environment variable CASCADE_CACHE) or None
            (nowhere). Hashes and vectors are kept, no texts; in the user's cache folder 2 GiB at most. Those of a
            callable encoder are only kept if it has an attribute `cache_key`: a text that changes whenever its
            vectors do.
        progress: Show progress bars on a terminal.

    Returns:
        The policy, planned for the target.

    Raises:
        ValueError: The outcomes or an argument are bad, or the target cannot be met; the message says what can.

    Example:
        >>> policy = fit("outcomes.jsonl.gz", retention=0.95)   # doctest: +SKIP
        >>> print(policy.describe())                            # doctest: +SKIP
    """
    target = checked_target(budget, retention, cost_weight)
    check_choices(cost, strategy, quality, gate, clusters)
    loaded, held_out = load_outcomes(outcomes, progress=progress), None
    if confidence is not None:
        check_confidence(target, confidence)
        loaded, held_out = calibration_split(loaded, seed=seed)
    if len(loaded.models) < 2:
        msg = f"A cascade needs outcomes of at least two models, found {', '.join(loaded.models)}."
        raise ValueError(msg)
    cached = CachedEncoder(encoder_from_spec(encoder) if isinstance(encoder, str) else encoder)
    with _remembering(cached, loaded, cache):
        policy = _fitted(loaded, cached, cost, target, strategy, quality, gate, clusters, seed, progress=progress)
        if confidence is None or held_out is None:
            return policy
        certified, certificate = certify(
            policy, held_out, retention=target.retention or 0.0, confidence=confidence, progress=progress
        )
    if not certificate.certified:
        logging.getLogger(__name__).warning("%s", certificate)
    return replace(certified, certificate=certificate)


def _fitted(
    loaded: Outcomes,
    cached: CachedEncoder,
    cost: Metric,
    target: Target,
    strategy: Strategy,
    quality: Quality | QualityEstimator | nn.Module | None,
    gate: Gate,
    clusters: int | Literal["auto"],
    seed: int,
    *,
    progress: bool,
) -> CascadePolicy:
    table = OutcomeTable.of(loaded)
    costs = table.cost(cost)
    vectors = encode_with_progress(cached, table.queries, "queries", progress=progress).astype(float)
    right, rounded = nan_mean(table.values("correct")), strategy == "sequential"
    clusterer = find_clusters(vectors, right, clusters, rounded=rounded, seed=seed, progress=progress)
    evidence = _evidence(table, costs, vectors, clusterer.centroids_, clusterer.labels_, clusterer.distances_)
    del vectors
    rivals = _rivals(evidence, evidence, gate, strategy)
    turns = evenly(clusterer.labels_, seed)
    judged = judge_answers(table, cached, quality, strategy, seed, turns=turns, rivals=rivals, progress=progress)
    releases = release_rules(judged, cached, quality, strategy, seed, progress=progress)
    evidence = replace(evidence, scores=judged.scores, p_correct=_p_correct(judged, table)).ordered()
    options, optimism = _options(evidence, cost, strategy, progress=progress)
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
        prices=token_prices(loaded),
        point=Planner(options, {}, strategy, optimism).at(target),
        seed=seed,
        releases=releases,
        gate=gate,
        optimism=optimism,
    )


def add_model(
    policy: CascadePolicy, model: str, outcomes: Any, *, cache: Cache = True, progress: bool = True
) -> CascadePolicy:
    """The policy of the pool with a new model. Clusters and the other models' estimators stay as they are.

    Args:
        policy: A fitted policy.
        model: The new model's name.
        outcomes: Whatever `load_outcomes` takes; its rows of this model are joined by `query_id` with those of the
            fit. Any subset of the queries will do, and new queries too.
        cache: Where embeddings are kept, as with `fit`.
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
    loaded = load_outcomes(outcomes, progress=progress)
    if model not in loaded.models:
        msg = f"The outcomes hold no row of {model}, only of {', '.join(loaded.models)}."
        raise ValueError(msg)
    new = loaded.where(lambda row: row.model == model)
    with _remembering(policy.encoder, new, cache):
        return _joined(policy, OutcomeTable.of(new), progress=progress)


def _joined(policy: CascadePolicy, table: OutcomeTable, *, progress: bool) -> CascadePolicy:
    vectors = encode_with_progress(policy.encoder, table.queries, "queries", progress=progress).astype(float)
    labels, distances = nearest(vectors, policy.centroids)
    bare = _evidence(table, table.cost(policy.metric), vectors, policy.centroids, labels, distances)
    rivals = _rivals(bare, policy.evidence, policy.gate, policy.strategy)
    quality, turns = _again(policy), evenly(labels, policy.seed)
    judged = judge_answers(
        table, policy.encoder, quality, policy.strategy, policy.seed, turns=turns, rivals=rivals, progress=progress
    )
    releases = release_rules(judged, policy.encoder, quality, policy.strategy, policy.seed, progress=progress)
    bare = replace(bare, scores=judged.scores, p_correct=_p_correct(judged, table))
    joined = policy.evidence.joined(bare).ordered()
    options, optimism = _options(joined, policy.metric, policy.strategy, progress=progress)
    return policy.replanned(
        evidence=joined,
        table=options,
        optimism=optimism,
        estimators={**policy.estimators, **judged.estimators},
        releases={**policy.releases, **releases},
        prices={**policy.prices, **token_prices(table.outcomes)},
    )


@contextmanager
def _remembering(encoder: CachedEncoder, outcomes: Outcomes, cache: Cache) -> Iterator[None]:
    """Within it no text is embedded twice: fitting reads each of them many times."""
    answers = min(len(outcomes), MOST_ANSWERS * len(outcomes.models)) + READ_BESIDES * len(outcomes.models)
    with kept_on_disk(encoder, cache):
        encoder.trim(CACHE_SIZE + len(outcomes.queries) + answers)
        try:
            yield
        finally:
            encoder.trim(CACHE_SIZE)


def _evidence(
    table: OutcomeTable, costs: Floats, vectors: Floats, centroids: Floats, labels: Labels, distances: Floats
) -> Evidence:
    return Evidence(
        table.models,
        table.query_ids,
        labels,
        table.values("correct"),
        costs,
        table.values("output_tokens"),
        np.full(table.cells.shape, np.nan),
        coordinates(vectors, centroids),
        distances,
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


def _p_correct(judged: Judged, table: OutcomeTable) -> Floats:
    """What traces will tell of such answers, by estimators that had not seen them; NaN: not judged."""
    found = np.full(table.cells.shape, np.nan)
    for model, one in judged.models.items():
        cells = one.answers.queries, table.models.index(model), one.answers.runs
        found[cells] = one.estimator.calibrator(one.trained.scores)
    return found


def _options(evidence: Evidence, metric: Metric, strategy: Strategy, *, progress: bool) -> tuple[OptionTable, Optimism]:
    if strategy == "sequential":
        return option_table(evidence, metric, thresholds=[0.5], shrunk=False), NO_OPTIMISM
    options, worth = weighed_options(evidence, metric, progress=progress)
    planner = Planner(options, {}, strategy)
    return options, measure_optimism(options, worth, planner.cost, planner.unit) if worth else NO_OPTIMISM


def _again(policy: CascadePolicy) -> str | QualityEstimator | None:
    """What the policy's estimators are made from."""
    if policy.quality != "foreign":
        return policy.quality
    return next((found.estimator for found in policy.estimators.values()), None)
