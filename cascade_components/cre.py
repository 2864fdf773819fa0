"""The artifacts of cre-router, the package of the authors of arXiv 2606.27457, as one of our policies."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field

from cascade_components.accounting import pass_shares
from cascade_components.arrays import Floats
from cascade_components.calibration import Calibrator
from cascade_components.cascade import QualityEstimator
from cascade_components.cre_stats import CreMetric, CreStats, pool_stats, read_json, validated
from cascade_components.encoders import DEFAULT_ENCODER, CachedEncoder, Encoder, SentenceTransformerEncoder
from cascade_components.evidence import Evidence
from cascade_components.options import OptionTable
from cascade_components.planning import OperatingPoint, Target
from cascade_components.policy import CascadePolicy
from cascade_components.pool import Conditioning, PoolStats, pareto_front
from cascade_components.quality.calibrated import CalibratedEstimator
from cascade_components.routing import regions

THRESHOLD = 0.5
"""Where the paper's gates accept."""


def read_cre_artifacts(
    path: str | os.PathLike[str],
    *,
    encoder: Encoder | None = None,
    quality: QualityEstimator | Mapping[str, QualityEstimator] | None = None,
    served_only: bool = False,
) -> CascadePolicy:
    """Read the folder that `cre cluster` and `cre fit` wrote as a policy; see `CreArtifacts`.

    Args:
        path: The folder with centroids.npy and router.json.
        encoder: Text → vectors, where the stored name does not do; `CascadePolicy.load` then needs it again.
        quality: A trained estimator for every model, or one for each model named: it judges the gated clusters'
            answers. `SequenceHead.trained` reads a checkpoint of `cre qe-train`, and is saved with the policy;
            one of your own is given to `CascadePolicy.load` again. A model without an estimator is not gated.
        served_only: Leave out the models that neither serve a cluster nor are escalated to.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: Something is wrong in one; the message names the file, the key and the value.

    Example:
        >>> judges = {"VibeThinker-1.5B": SequenceHead.trained("qe-vibethinker/", max_length=4096)}   # doctest: +SKIP
        >>> read_cre_artifacts("artifacts/aime/", quality=judges).save("policy/")                     # doctest: +SKIP
    """
    return CreArtifacts.read(path).policy(encoder=encoder, quality=quality, served_only=served_only)


@dataclass(frozen=True)
class CreArtifacts:
    """What `cre cluster` and `cre fit` stored: clusters, statistics, and the routing chosen on them."""

    centroids: Floats
    """Shape (clusters, dim)."""
    embedding_model: str
    metric: CreMetric
    stats: PoolStats
    routing: tuple[str, ...]
    """Model of each cluster."""
    targets: tuple[str | None, ...]
    """Whom each cluster's weak answers go to; None: they are not judged."""
    budget: float | None
    """Mean cost per query, Stage 1 alone, in ms."""
    cost_weight: float | None
    """λ*; None where cre-router chose a routing that no λ reaches."""

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> CreArtifacts:
        """Read the folder.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: Something is wrong in one; the message names the file, the key and the value.
        """
        folder = Path(path)
        for name, command in (("router.json", "cre fit"), ("centroids.npy", "cre cluster")):
            if not (folder / name).is_file():
                msg = f"{folder} holds no {name}; {command} --output {folder} writes it."
                raise FileNotFoundError(msg)
        place = str(folder / "router.json")
        router = validated(_Router, read_json(place), place)
        centroids = _centroids(folder / "centroids.npy")
        for problem in router.problems(len(centroids)):
            msg = f"{place}: {problem}; run cre cluster, then cre fit, with this folder as --output."
            raise ValueError(msg)
        clusters = router.stats.clusters
        metric: CreMetric = "tpot_ms" if router.cost_metric == "tpot" else "e2el_ms"
        return cls(
            centroids,
            router.embedding_model,
            metric,
            pool_stats(router.stats, metric, router.cost_conditioning, f"{place}['stats']"),
            tuple(router.routing_table[cluster] for cluster in clusters),
            tuple(router.escalation_target if cluster in router.gated_clusters else None for cluster in clusters),
            router.budget_ms,
            router.lambda_star,
        )

    def policy(
        self,
        *,
        encoder: Encoder | None = None,
        quality: QualityEstimator | Mapping[str, QualityEstimator] | None = None,
        served_only: bool = False,
    ) -> CascadePolicy:
        """The policy with this routing, and these gates where their model has an estimator.

        A query goes to its nearest centroid, however far; where it is too long for the encoder its end is read
        (cre-router: its beginning). A gate whose target is no more accurate than its model (`cre fit --escalate-to`
        can ask for it) is left out: a cascade asks stronger models only. What a gate brings is expected to be what
        `stage2_estimate` says. There are no outcomes of single queries here, so no model can be added. `at`,
        `remove_model` and `reprice` plan anew on the statistics, as the paper does: with one cost a model (the mean
        over its clusters) and an error tolerance of 0.001, whatever cre-router was told.

        Args:
            encoder: As in `read_cre_artifacts`.
            quality: As in `read_cre_artifacts`.
            served_only: As in `read_cre_artifacts`.

        Raises:
            ValueError: The centroids are of vectors that are not of unit length and no encoder is given, or an
                estimator is for a model that is not there.
        """
        served = {*self.routing, *filter(None, self.targets)}
        pool = _ladder(self.stats, served if served_only else self.stats.models)
        estimators = _estimators(quality, pool.models)
        table = _options(pool, self.metric, estimators)
        nobody = np.zeros((0, len(pool.models), 1))
        return CascadePolicy(
            encoder=CachedEncoder(self._encoder() if encoder is None else encoder),
            metric=self.metric,
            strategy="sequential",
            target=Target(cost_weight=self.cost_weight) if self.budget is None else Target(budget=self.budget),
            centroids=self.centroids,
            radius=np.full(len(self.centroids), np.inf),
            evidence=Evidence(pool.models, (), np.zeros(0, np.intp), nobody, nobody, nobody, nobody),
            table=table,
            estimators=estimators,
            quality="foreign" if estimators else None,
            prices={},
            point=self._point(table),
        )

    def _encoder(self) -> Encoder:
        if np.linalg.norm(self.centroids, axis=1).max() > 1 + 1e-3:
            msg = (
                f"The centroids are of vectors of {self.embedding_model} that were not scaled to unit length, as ours "
                "are: read_cre_artifacts(path, encoder=SentenceTransformer(name).encode) keeps them as they are."
            )
            raise ValueError(msg)
        return SentenceTransformerEncoder(self.embedding_model)

    def _point(self, table: OptionTable) -> OperatingPoint:
        options = np.array([_option(table, *plan) for plan in zip(self.routing, self.targets, strict=True)])
        cells = options, np.arange(len(options))
        accuracy, cost = (float(table.weights @ values[cells]) for values in (table.accuracy, table.cost({})))
        return OperatingPoint(tuple(map(int, options)), accuracy, cost, self._named_cost_weight())

    def _named_cost_weight(self) -> float:
        """λ*, or that of the region of the sweep which routes the most clusters alike."""
        if self.cost_weight is not None:
            return self.cost_weight
        found = regions(self.stats.only(pareto_front(self.stats)))
        alike = [sum(a == b for a, b in zip(region.routing, self.routing, strict=True)) for region in found]
        return found[int(np.argmax(alike))].cost_weight


class _Router(BaseModel):
    """router.json."""

    embedding_model: str = DEFAULT_ENCODER
    routing_table: dict[str, str]
    lambda_star: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    budget_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    cost_metric: Literal["tpot", "e2el"] = "tpot"
    cost_conditioning: Conditioning = "model"
    escalation_target: str | None = None
    gated_clusters: dict[str, str] = {}
    stats: CreStats

    def problems(self, centroids: int) -> Iterator[str]:
        """What does not fit together."""
        clusters = {str(number) for number in range(centroids)}
        for key, names in (("stats.cluster_sizes", self.stats.cluster_sizes), ("routing_table", self.routing_table)):
            if set(names) != clusters:
                found = ", ".join(sorted(names)) or "none"
                yield f"{key} must have the {centroids} clusters of centroids.npy, from 0; found {found}"
        for model in sorted({*self.routing_table.values(), self.escalation_target or ""} - {"", *self.stats.models}):
            yield f"the routing names {model!r}, which stats lacks"
        for cluster, model in self.gated_clusters.items():
            if self.routing_table.get(cluster) != model or self.escalation_target is None:
                yield f"gated_clusters gates {model!r} in cluster {cluster}, which does not fit the routing"
        if self.budget_ms is None and self.lambda_star is None:
            yield "it has neither budget_ms nor lambda_star"


def _centroids(file: Path) -> Floats:
    try:
        array = np.asarray(np.load(file, allow_pickle=False), float)
    except (ValueError, EOFError, OSError) as error:
        msg = f"{file} is damaged, or no array of numbers ({error})."
        raise ValueError(msg) from None
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        msg = f"{file} must hold finite numbers of shape (clusters, dim), found shape {array.shape}."
        raise ValueError(msg)
    return array


def _ladder(stats: PoolStats, models: Collection[str]) -> PoolStats:
    """Weakest model first; of equals the cheaper counts as stronger."""
    accuracy, cost = stats.mean(1 - stats.error), stats.model_cost
    rows = sorted(range(len(stats.models)), key=lambda row: (accuracy[row], -cost[row], stats.models[row]))
    return stats.only(tuple(stats.models[row] for row in rows if stats.models[row] in models))


def _estimators(
    quality: QualityEstimator | Mapping[str, QualityEstimator] | None, models: tuple[str, ...]
) -> dict[str, CalibratedEstimator]:
    if quality is None:
        return {}
    given = quality if isinstance(quality, Mapping) else dict.fromkeys(models, quality)
    unknown = sorted(set(given) - set(models))
    if unknown:
        msg = f"There is an estimator for {', '.join(unknown)}, but the pool holds {', '.join(models)}."
        raise ValueError(msg)
    return {model: CalibratedEstimator(estimator, Calibrator()) for model, estimator in given.items()}


def _options(pool: PoolStats, metric: CreMetric, judged: Collection[str]) -> OptionTable:
    """Every model alone, and every judged one before every stronger one, with what `stage2_estimate` expects of it."""
    ladder = range(len(pool.models))
    pairs = [(start, -1) for start in ladder]
    pairs += [(start, target) for start in ladder if pool.models[start] in judged for target in ladder[start + 1 :]]
    start, target = np.array(pairs, dtype=np.intp).T
    gated = (target >= 0)[:, None]
    error, cost = pool.error, pool.cost
    tokens = np.full(error.shape, np.nan) if pool.output_tokens is None else pool.output_tokens
    rate = np.where(gated, error[start], 0.0)
    first, second = pass_shares(metric, tokens[start], tokens[target])
    return OptionTable(
        pool.models,
        start,
        target,
        np.where(gated[:, 0], THRESHOLD, np.nan),
        accuracy=1 - np.where(gated, np.minimum(error[start], error[target]), error[start]),
        start_cost=(1 - rate + rate * first) * cost[start],
        target_cost=rate * second * cost[target],
        escalation=rate,
        sizes=pool.sizes,
    )


def _option(table: OptionTable, start: str, target: str | None) -> int:
    """The option of a plan; ungated where there is none with this gate."""
    to = table.models.index(target) if target in table.models else -1
    found = np.flatnonzero((table.start == table.models.index(start)) & (table.target == to))
    return int(found[0]) if found.size else _option(table, start, None)
