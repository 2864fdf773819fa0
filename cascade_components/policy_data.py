"""The fields of a policy, as plain data and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from cascade_components.arrays import Floats
from cascade_components.calibration import Calibrator
from cascade_components.cascade import QualityEstimator
from cascade_components.encoders import CachedEncoder, Encoder, SentenceTransformerEncoder
from cascade_components.evidence import Evidence
from cascade_components.options import OptionTable
from cascade_components.outcomes import Metric
from cascade_components.planning import OperatingPoint, Strategy, Target
from cascade_components.pricing import TokenPrice
from cascade_components.quality.calibrated import CalibratedEstimator
from cascade_components.quality.release import ReleaseRule
from cascade_components.storage import Arrays, read_folder, write_folder


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
    """How estimators are made: "embedding", "foreign" (given again on load), or None."""
    prices: Mapping[str, TokenPrice] = field(repr=False)
    point: OperatingPoint = field(repr=False)
    factors: Mapping[str, float] = field(default_factory=dict)
    """A model's price as a factor on its measured cost."""
    seed: int = 0
    releases: Mapping[str, ReleaseRule] = field(default_factory=dict, repr=False)
    """When a model's answers may be released before they are whole; a model without a rule is always held."""

    @property
    def models(self) -> tuple[str, ...]:
        """The ladder: weakest model first."""
        return self.table.models


def facts(policy: PolicyData) -> dict[str, Any]:
    """Everything of a policy that is no array, as JSON data."""
    encoder = policy.encoder.encoder
    releases = {model: _release_facts(rule) for model, rule in policy.releases.items()}
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
        "estimators": {model: _estimator_facts(found) for model, found in policy.estimators.items()},
        "seed": policy.seed,
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
    if policy.quality == "embedding":
        named["quality"] = _weights(policy.estimators)
        readers = {
            f"{words}/{model}": reader
            for model, rule in policy.releases.items()
            for words, reader in rule.readers.items()
        }
        if readers:
            named["releases"] = _weights(readers)
    return named


def save(policy: PolicyData, path: str | os.PathLike[str]) -> None:
    """Write the policy's folder."""
    write_folder(path, facts(policy), groups(policy))


def load(
    path: str | os.PathLike[str],
    encoder: Encoder | None,
    quality: QualityEstimator | Mapping[str, QualityEstimator] | None,
) -> dict[str, Any]:
    """Read a policy's folder into the fields of `PolicyData`."""
    data, arrays = read_folder(path)
    models = tuple(data["models"])
    cached = CachedEncoder(_encoder(data["encoder"], encoder, path))
    estimators = _estimators(data, arrays.get("quality", {}), cached, quality, path)
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
        "releases": _releases(data, arrays.get("releases", {}), cached, estimators),
    }


def _arrays(record: Evidence | OptionTable) -> Arrays:
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _estimator_facts(found: CalibratedEstimator) -> dict[str, Any]:
    return {"calibrator": asdict(found.calibrator), "config": getattr(found.estimator, "config", None)}


def _release_facts(rule: ReleaseRule) -> dict[str, Any]:
    readers = {str(words): _estimator_facts(reader) for words, reader in rule.readers.items()}
    return {"gates": list(rule.gates), "bars": list(rule.bars), "readers": readers}


def _weights(heads: Mapping[str, CalibratedEstimator]) -> Arrays:
    arrays = {name: found.estimator.arrays() for name, found in heads.items()}  # type: ignore[attr-defined]
    return {f"{name}/{key}": array for name, weights in arrays.items() for key, array in weights.items()}


def _encoder(name: str | None, given: Encoder | None, path: str | os.PathLike[str]) -> Encoder:
    if given is not None:
        return given
    if name is None:
        msg = f"{path} was fitted with a callable encoder: CascadePolicy.load(path, encoder=that callable)."
        raise ValueError(msg)
    return SentenceTransformerEncoder(name)


def _estimators(
    data: dict[str, Any],
    arrays: Arrays,
    encoder: CachedEncoder,
    given: QualityEstimator | Mapping[str, QualityEstimator] | None,
    path: str | os.PathLike[str],
) -> dict[str, CalibratedEstimator]:
    if data["quality"] is None:
        return {}
    if data["quality"] == "foreign" and given is None:
        msg = f"{path} was fitted with an estimator of your own: CascadePolicy.load(path, quality=that estimator)."
        raise ValueError(msg)
    found = {}
    for model, facts_ in data["estimators"].items():
        estimator: QualityEstimator
        if data["quality"] == "foreign":
            estimator = given[model] if isinstance(given, Mapping) else given  # type: ignore[assignment]
        else:
            estimator = _head(facts_["config"], arrays, model, encoder)
        found[model] = CalibratedEstimator(estimator, _calibrator(facts_["calibrator"]))
    return found


def _releases(
    data: dict[str, Any], arrays: Arrays, encoder: CachedEncoder, estimators: Mapping[str, CalibratedEstimator]
) -> dict[str, ReleaseRule]:
    """The rules of early release; there are none in a policy from before there were any."""
    found = {}
    for model, rule in data.get("releases", {}).items():
        readers = {}
        for words, facts_ in rule["readers"].items():
            estimator = estimators[model].estimator
            if data["quality"] == "embedding":
                estimator = _head(facts_["config"], arrays, f"{words}/{model}", encoder)
            readers[int(words)] = CalibratedEstimator(estimator, _calibrator(facts_["calibrator"]))
        found[model] = ReleaseRule(tuple(rule["gates"]), tuple(rule["bars"]), readers)
    return found


def _head(config: dict[str, Any], arrays: Arrays, name: str, encoder: CachedEncoder) -> QualityEstimator:
    # Torch is slow to import: a policy without this head is served without it.
    from cascade_components.quality.head import EmbeddingHead

    split = {key: key.rsplit("/", 1) for key in arrays}
    own = {last: arrays[key] for key, (first, last) in split.items() if first == name}
    return EmbeddingHead.from_arrays(config, own, encoder)


def _calibrator(data: dict[str, Any]) -> Calibrator:
    platt, knots = data["platt"], data["knots"]
    return Calibrator(
        platt=None if platt is None else (platt[0], platt[1]),
        knots=None if knots is None else (tuple(knots[0]), tuple(knots[1])),
    )
