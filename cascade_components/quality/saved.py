"""What JSON may hold of a quality estimator: checked before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from cascade_components.facts import Facts, Name, Number, Positive, Seed, Share, ascending

Kind = Literal["embedding", "sequence", "margins", "module", "foreign"]

ClassWeight = Literal["balanced"] | None


def _increasing(knots: list[list[float]]) -> list[list[float]]:
    places, levels = knots
    if not places or len(places) != len(levels) or not ascending(places) or not ascending(levels):
        msg = "knots must be two ascending lists of the same length"
        raise ValueError(msg)
    return knots


Knots = Annotated[list[list[Number]], Field(min_length=2, max_length=2), AfterValidator(_increasing)]
"""Of a piecewise linear map."""

LARGEST_SIZE = 10_000_000
"""Of anything in a network."""


class CalibratorFacts(Facts):
    """Of a `Calibrator`."""

    platt: Annotated[list[Number], Field(min_length=2, max_length=2)] | None
    knots: Knots | None

    @model_validator(mode="after")
    def _one_map(self) -> Self:
        if self.platt is not None and self.knots is not None:
            msg = "there is platt or knots, not both"
            raise ValueError(msg)
        return self


class EmbeddingConfig(Facts):
    """Of an `EmbeddingHead`."""

    penalty: Positive | None
    class_weight: ClassWeight
    seed: Seed
    models: Annotated[list[Name], Field(default_factory=list, max_length=1000)]
    thinkers: Annotated[list[Name], Field(default_factory=list, max_length=1000)]


class MarginsConfig(Facts):
    """Of a `MarginEstimator`."""

    maps: dict[Literal["margin", "logprob"], Knots]
    share: Share


class _TrainingConfig(Facts):
    epochs: Annotated[int, Field(ge=1, le=LARGEST_SIZE)]
    learning_rate: Positive
    batch_size: Annotated[int, Field(ge=1, le=LARGEST_SIZE)]
    class_weight: ClassWeight
    seed: Seed


class ModuleConfig(_TrainingConfig):
    """Of a `ModuleEstimator`."""

    width: Annotated[int, Field(ge=1, le=LARGEST_SIZE)]


class SequenceConfig(_TrainingConfig):
    """Of a `SequenceHead`."""

    checkpoint: str
    max_length: Annotated[int, Field(ge=16, le=LARGEST_SIZE)]
    layout: Literal["pair", "cre-router"]
    inputs: Annotated[list[str], Field(max_length=20)]
    separator: Name
    pad: Annotated[int, Field(ge=0, le=LARGEST_SIZE)]
    network: dict[str, Any]

    @model_validator(mode="after")
    def _reads_text(self) -> Self:
        if "input_ids" not in self.inputs:
            msg = "inputs must have input_ids"
            raise ValueError(msg)
        check_network(self.network)
        return self


CONFIGS: dict[str, type[Facts]] = {
    "embedding": EmbeddingConfig,
    "margins": MarginsConfig,
    "module": ModuleConfig,
    "sequence": SequenceConfig,
}


class RivalFacts(Facts):
    """Of a `Rival`."""

    config: dict[str, Any]
    weight: Share
    mean: Share


class EstimatorFacts(Facts):
    """Of a `CalibratedEstimator`."""

    calibrator: CalibratorFacts
    config: dict[str, Any] | None
    kind: Kind | None = None
    """None: the policy's."""
    rival: RivalFacts | None = None


class ReleaseFacts(Facts):
    """Of a `ReleaseRule`."""

    gates: list[Number]
    bars: list[Share]
    readers: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}$")], EstimatorFacts]
    """By the number of words that they read."""

    @model_validator(mode="after")
    def _a_bar_for_each_gate(self) -> Self:
        if len(self.gates) != len(self.bars) or not ascending(self.gates) or not ascending(self.bars):
            msg = "gates and bars must be ascending, and as many of one as of the other"
            raise ValueError(msg)
        return self


def check_network(config: dict[str, Any]) -> None:
    """Refuse the config of a network that would have code fetched, or sizes that nobody's network has."""
    if not isinstance(config.get("model_type"), str):
        msg = "network.model_type must name an architecture of transformers"
        raise ValueError(msg)
    for name, value in _entries(config):
        if _CODE.search(name) and isinstance(value, str | dict | bool) and value not in _HARMLESS:
            msg = f"network.{name} would have code fetched"
            raise ValueError(msg)
        if isinstance(value, int) and abs(value) > LARGEST_SIZE:
            msg = f"network.{name} is too large: {value}"
            raise ValueError(msg)
    labels = config.get("id2label")
    if config.get("num_labels", 2) != 2 or (labels is not None and (not isinstance(labels, dict) or len(labels) != 2)):
        msg = "network must tell two classes apart"
        raise ValueError(msg)


_CODE = re.compile("implementation|kernel|auto_map|quantization|custom|remote")
_HARMLESS: tuple[object, ...] = (False, "", "eager", "sdpa", {})


def _entries(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value in it, however deep, with the name that it goes by."""
    left: list[tuple[str, Any]] = [("", config)]
    while left:
        name, value = left.pop()
        yield name, value
        if isinstance(value, dict):
            left += value.items()
        elif isinstance(value, list):
            left += [(name, one) for one in value]
