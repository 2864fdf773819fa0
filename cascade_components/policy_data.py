"""The fields of a policy, as plain data and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cascade_components.arrays import Floats
from cascade_components.certificate import Certificate
from cascade_components.encoders import CachedEncoder, Encoder, encoder_from_spec, spec_of
from cascade_components.evidence import Evidence
from cascade_components.facts import read_facts
from cascade_components.optimism import NO_OPTIMISM, Optimism
from cascade_components.options import OptionTable
from cascade_components.outcomes import Metric
from cascade_components.planning import OperatingPoint, Strategy, Target
from cascade_components.policy_arrays import check_point, check_policy_arrays
from cascade_components.policy_facts import PolicyFacts
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
from cascade_components.storage import Arrays, DamagedFileError, Stored, read_folder, write_folder
from cascade_components.strict_json import canonical, parse_object

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
        "encoder": spec_of(encoder),
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
    """Write the policy's folder.

    Raises:
        FileExistsError: Something else than a policy lies there.
        ValueError: The policy could not be loaded again: it was changed by hand, say.
    """
    # It changes no decision, so it is no part of what the fingerprint is taken from.
    certificate = {} if policy.certificate is None else {"certificate": policy.certificate.to_dict()}
    data, arrays = parse_object(canonical(facts(policy) | certificate)), groups(policy)
    try:
        files = {group: Path(path, f"{group}.safetensors") for group in arrays}
        _check(Stored(Path(path), data, arrays, files))
    except DamagedFileError as error:
        msg = f"The policy cannot be saved, for it could not be loaded again: {error.file.name}: {error.what}."
        raise ValueError(msg) from None
    write_folder(path, data, arrays)


def load(
    path: str | os.PathLike[str],
    encoder: Encoder | None,
    quality: Given | Mapping[str, Given] | None,
) -> dict[str, Any]:
    """Read a policy's folder into the fields of `PolicyData`, once everything in it has been checked.

    Raises:
        FileNotFoundError: There is no policy in this folder.
        ValueError: A file is damaged, or was written by another version; or an encoder or estimator has to be given.
            The message says which, and what to do.
    """
    stored = read_folder(path)
    found, table, optimism = _check(stored)
    # Numbers are taken as they were written, 6 or 6.0: the fingerprint tells them apart.
    data, arrays = stored.facts, stored.arrays
    cached = CachedEncoder(_encoder(found.encoder, encoder, path))
    loader = EstimatorLoader(stored, found.quality, cached, arrays["clusters"]["centroids"].shape[1], quality)
    estimators = loader.estimators(found.estimators)
    return {
        "encoder": cached,
        "metric": found.metric,
        "strategy": found.strategy,
        "target": Target(**data["target"]),
        "centroids": arrays["clusters"]["centroids"],
        "radius": arrays["clusters"]["radius"],
        "evidence": Evidence(models=table.models, query_ids=tuple(found.query_ids), **arrays["evidence"]),
        "table": table,
        "estimators": estimators,
        "quality": found.quality,
        "prices": {model: TokenPrice(**price) for model, price in data["prices"].items()},
        "point": OperatingPoint(**data["point"] | {"options": tuple(found.point.options)}),
        "factors": data["factors"],
        "seed": found.seed,
        "gate": found.gate,
        "certificate": None if found.certificate is None else Certificate.from_dict(data["certificate"]),
        "optimism": optimism,
        "releases": loader.releases(found.releases, estimators),
    }


def _check(stored: Stored) -> tuple[PolicyFacts, OptionTable, Optimism]:
    """Check all but the estimators.

    Raises:
        ValueError: Something is not as it must be.
    """
    found = read_facts(PolicyFacts, stored.facts, stored.index)
    check_policy_arrays(stored, found)
    table = OptionTable(models=tuple(found.models), **stored.arrays["options"])
    optimism = Optimism(tuple(found.optimism.cost_weights), tuple(found.optimism.values))
    check_point(stored.index, found, table, optimism)
    return found, table, optimism


def _arrays(record: Evidence | OptionTable) -> Arrays:
    values = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _encoder(name: str | None, given: Encoder | None, path: str | os.PathLike[str]) -> Encoder:
    if given is not None:
        return given
    if name is None:
        msg = f"{path} was fitted with a callable encoder: CascadePolicy.load(path, encoder=that callable)."
        raise ValueError(msg)
    return encoder_from_spec(name)
