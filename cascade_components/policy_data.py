"""The fields of a policy, as plain data and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from cascade_components.arrays import Floats
from cascade_components.certificate import Certificate
from cascade_components.encoders import CachedEncoder, Encoder, SentenceTransformerEncoder
from cascade_components.evidence import Evidence
from cascade_components.optimism import NO_OPTIMISM, Optimism
from cascade_components.options import OptionTable
from cascade_components.outcomes import Metric
from cascade_components.planning import OperatingPoint, Strategy, Target
from cascade_components.pricing import TokenPrice
from cascade_components.quality.calibrated import CalibratedEstimator
from cascade_components.quality.release import ReleaseRule
from cascade_components.quality.saving import (
    EstimatorLoader,
    estimator_arrays,
    estimator_facts,
    release_arrays,
    release_facts,
)
from cascade_components.storage import Arrays, read_folder, write_folder

if TYPE_CHECKING:
    from cascade_components.judging import Gate
    from cascade_components.quality.saving import Given


@dataclass(frozen=True)
class PolicyData:
    """The fields of a policy."""

    encoder: CachedEncoder = field(repr=False)
    metric: Metric
    """Which measurement is Cost."""
    strategy: Strategy
    target: Target
    """What the plan was chosen for."""
    centroids: Floats = field(repr=False)
    """Shape (clusters, dim)."""
    radius: Floats = field(repr=False)
    """Distance beyond which a query is out of the map, shape (clusters,)."""
    evidence: Evidence = field(repr=False)
    table: OptionTable = field(repr=False)
    estimators: Mapping[str, CalibratedEstimator] = field(repr=False)
    quality: str | None
    """How estimators are made: "embedding", "sequence", "margins", "foreign" (from what the user gave), or None."""
    prices: Mapping[str, TokenPrice] = field(repr=False)
    point: OperatingPoint = field(repr=False)
    factors: Mapping[str, float] = field(default_factory=dict)
    """A model's price as a factor on its measured cost."""
    seed: int = 0
    releases: Mapping[str, ReleaseRule] = field(default_factory=dict, repr=False)
    """When a model's answers may be released before they are whole; a model without a rule is always held."""
    gate: Gate = "error"
    """What gates weigh."""
    optimism: Optimism = NO_OPTIMISM
    """What the table promises too much. It is measured when a model is added; without a model, or at other prices,
    there is a little less to be lucky with, and it is taken as it was."""
    certificate: Certificate | None = field(default=None, repr=False)
    """That this operating point keeps its retention, where `fit` was asked for it."""

    @property
    def models(self) -> tuple[str, ...]:
        """The ladder: weakest model first."""
        return self.table.models


def facts(policy: PolicyData) -> dict[str, Any]:
    """Everything of a policy that is no array, as JSON data."""
    encoder = policy.encoder.encoder
    releases = {
        model: release_facts(rule, policy.estimators.get(model), policy.quality, policy.encoder)
        for model, rule in policy.releases.items()
    }
    return {
        "models": list(policy.models),
        "metric": policy.metric,
        "strategy": policy.strategy,
        "target": asdict(policy.target),
        "point": asdict(policy.point) | {"options": list(policy.point.options)},
        "factors": dict(policy.factors),
        "prices": {model: asdict(price) for model, price in policy.prices.items()},
        "encoder": encoder.name if isinstance(encoder, SentenceTransformerEncoder) else None,
        "quality": policy.quality,
        "estimators": {
            model: estimator_facts(found, policy.quality, policy.encoder) for model, found in policy.estimators.items()
        },
        "seed": policy.seed,
        "gate": policy.gate,
        "optimism": asdict(policy.optimism),
        "query_ids": list(policy.evidence.query_ids),
        # A policy from before there were rules keeps its fingerprint.
        **({"releases": releases} if releases else {}),
    }


def groups(policy: PolicyData) -> dict[str, Arrays]:
    """The arrays of a policy, by file."""
    named: dict[str, Arrays] = {
        "clusters": {"centroids": policy.centroids, "radius": policy.radius},
        "options": _arrays(policy.table),
        "evidence": _arrays(policy.evidence),
    }
    weights = {
        "quality": estimator_arrays(policy.estimators, policy.encoder),
        "releases": release_arrays(policy.releases, policy.estimators, policy.encoder),
    }
    return named | {name: arrays for name, arrays in weights.items() if arrays}


def save(policy: PolicyData, path: str | os.PathLike[str]) -> None:
    """Write the policy's folder."""
    # It changes no decision, so it is no part of what the fingerprint is taken from.
    certificate = {} if policy.certificate is None else {"certificate": policy.certificate.to_dict()}
    write_folder(path, facts(policy) | certificate, groups(policy))


def load(
    path: str | os.PathLike[str],
    encoder: Encoder | None,
    quality: Given | Mapping[str, Given] | None,
) -> dict[str, Any]:
    """Read a policy's folder into the fields of `PolicyData`."""
    data, arrays = read_folder(path)
    models = tuple(data["models"])
    cached = CachedEncoder(_encoder(data["encoder"], encoder, path))
    loader = EstimatorLoader(path, data["quality"], cached, quality)
    estimators = loader.estimators(data["estimators"], arrays.get("quality", {}))
    return {
        "encoder": cached,
        "metric": data["metric"],
        "strategy": data["strategy"],
        "target": Target(**data["target"]),
        "centroids": arrays["clusters"]["centroids"],
        "radius": arrays["clusters"]["radius"],
        "evidence": Evidence(models=models, query_ids=tuple(data["query_ids"]), **arrays["evidence"]),
        "table": OptionTable(models=models, **arrays["options"]),
        "estimators": estimators,
        "quality": data["quality"],
        "prices": {model: TokenPrice(**price) for model, price in data["prices"].items()},
        "point": OperatingPoint(**data["point"] | {"options": tuple(data["point"]["options"])}),
        "factors": data["factors"],
        "seed": data["seed"],
        "gate": data["gate"],
        "certificate": Certificate.from_dict(data["certificate"]) if "certificate" in data else None,
        "optimism": Optimism(**{name: tuple(values) for name, values in data["optimism"].items()}),
        # A policy from before there were rules has none.
        "releases": loader.releases(data.get("releases", {}), arrays.get("releases", {}), estimators),
    }


def _arrays(record: Evidence | OptionTable) -> Arrays:
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _encoder(name: str | None, given: Encoder | None, path: str | os.PathLike[str]) -> Encoder:
    if given is not None:
        return given
    if name is None:
        msg = f"{path} was fitted with a callable encoder: CascadePolicy.load(path, encoder=that callable)."
        raise ValueError(msg)
    return SentenceTransformerEncoder(name)
