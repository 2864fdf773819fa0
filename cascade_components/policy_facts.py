"""What `policy.json` may hold: checked, each fact by itself and against the others, before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from cascade_components.facts import AtLeast0, Facts, Name, Number, Positive, Seed, Share, ascending
from cascade_components.outcomes import Metric
from cascade_components.planning import Strategy
from cascade_components.quality.saved import EstimatorFacts, Kind, ReleaseFacts

MOST_MODELS, MOST_CLUSTERS, MOST_QUERIES = 1000, 100_000, 10_000_000

Count = Annotated[int, Field(ge=0, le=10**15)]


def _unique(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        msg = f"{next(name for name in names if names.count(name) > 1)!r} is there twice"
        raise ValueError(msg)
    return names


class TargetFacts(Facts):
    """Of a `Target`."""

    budget: AtLeast0 | None
    retention: AtLeast0 | None
    cost_weight: AtLeast0 | None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name, value in self if value is not None]
        if len(given) != 1:
            msg = f"it must have one of budget, retention and cost_weight, found {', '.join(given) or 'none'}"
            raise ValueError(msg)
        return self


class PointFacts(Facts):
    """Of an `OperatingPoint`."""

    options: Annotated[list[Annotated[int, Field(ge=0, le=10**9)]], Field(min_length=1, max_length=MOST_CLUSTERS)]
    accuracy: Annotated[float, Field(ge=-1, le=1 + 1e-9)]
    cost: AtLeast0
    cost_weight: AtLeast0
    gap: AtLeast0


class PriceFacts(Facts):
    """Of a `TokenPrice`."""

    input: AtLeast0
    output: AtLeast0
    cache_read: AtLeast0 | None = None
    cache_creation: AtLeast0 | None = None


class OptimismFacts(Facts):
    """Of an `Optimism`."""

    cost_weights: Annotated[list[AtLeast0], Field(min_length=1, max_length=10_000)]
    values: list[Share]

    @model_validator(mode="after")
    def _a_value_for_each(self) -> Self:
        if len(self.values) != len(self.cost_weights) or not ascending(self.cost_weights):
            msg = "it must have a value for each of its ascending cost weights"
            raise ValueError(msg)
        return self


class CheckedPlanFacts(Facts):
    """Of a `CheckedPlan`."""

    expected_retention: Number
    retention: AtLeast0
    cost_share: AtLeast0
    p_value: AtLeast0
    queries_needed: Count | None


class CertificateFacts(Facts):
    """Of a `Certificate`."""

    strongest: Name
    retention: AtLeast0
    confidence: Annotated[float, Field(gt=0, lt=1)]
    queries: Count
    skipped: Count
    tested: Annotated[list[CheckedPlanFacts], Field(max_length=10_000)]
    planned: CheckedPlanFacts | None
    planned_bound: AtLeast0 | None


class PolicyFacts(Facts):
    """Everything of a policy that is no array."""

    models: Annotated[list[Name], Field(min_length=1, max_length=MOST_MODELS), AfterValidator(_unique)]
    metric: Metric
    strategy: Strategy
    target: TargetFacts
    point: PointFacts
    factors: dict[Name, Positive]
    prices: dict[Name, PriceFacts]
    encoder: Annotated[str, Field(min_length=1, max_length=5000, pattern=r"^[^\x00]*$")] | None
    quality: Kind | None
    estimators: dict[Name, EstimatorFacts]
    seed: Seed
    gate: Literal["gain", "error"]
    optimism: OptimismFacts
    query_ids: Annotated[list[Name], Field(max_length=MOST_QUERIES)]
    releases: Annotated[dict[Name, ReleaseFacts], Field(default_factory=dict)]
    """A policy from before there were rules has none."""
    certificate: CertificateFacts | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        for part in ("factors", "prices", "estimators", "releases"):
            unknown = sorted(set(getattr(self, part)) - set(self.models))
            if unknown:
                yield f"{part} names {unknown[0]!r}, which models lacks"
        if len(set(self.query_ids)) < len(self.query_ids):
            yield "query_ids has an id twice"
        for model, rule in self.releases.items():
            if any(reader.config is None for reader in rule.readers.values()) and model not in self.estimators:
                yield f"releases.{model} reads by the estimator of {model}, which estimators lacks"
        wished, found = self.target.cost_weight, self.point.cost_weight
        if wished is not None and wished != found:
            yield f"point.cost_weight must be that of the target, {wished}, found {found}"
        if self.certificate is not None and self.certificate.strongest != self.models[-1]:
            yield f"certificate.strongest must be {self.models[-1]!r}, found {self.certificate.strongest!r}"
