"""Quality estimators as plain data and back: settings as JSON, weights as arrays. What is code is given again."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from numpy.typing import NDArray

from cascade_components.calibration import Calibrator
from cascade_components.cascade import QualityEstimator
from cascade_components.encoders import CachedEncoder, Encoder, SentenceTransformerEncoder
from cascade_components.quality.calibrated import CalibratedEstimator, Rival
from cascade_components.quality.release import ReleaseRule
from cascade_components.storage import Arrays

if TYPE_CHECKING:
    from torch import nn

    Given = QualityEstimator | nn.Module
    """What the user gives again: an estimator, or the network whose weights were saved."""

# By name: torch is slow to import, and a policy without a network is served without it.
_HOMES = {
    "embedding": ("cascade_components.quality.head", "EmbeddingHead"),
    "sequence": ("cascade_components.quality.sequence", "SequenceHead"),
    "margins": ("cascade_components.quality.margins", "MarginEstimator"),
    "module": ("cascade_components.quality.module", "ModuleEstimator"),
}


_RIVAL = "rival of "
"""Before the names of the models whose gates weigh a rival."""


class _Saved(Protocol):
    """What can be saved as data."""

    @property
    def config(self) -> dict[str, Any]: ...

    def arrays(self) -> dict[str, NDArray[Any]]: ...


def kind_of(estimator: QualityEstimator, encoder: CachedEncoder) -> str:
    """How an estimator is saved: as one of ours, or not at all ("foreign").

    One that reads the vectors of another encoder than the policy's is foreign, too: a policy has but one to load.
    """
    home = (type(estimator).__module__, type(estimator).__qualname__)
    kind = next((kind for kind, known in _HOMES.items() if known == home), "foreign")
    own = getattr(estimator, "encoder", None)
    return "foreign" if own is not None and not _same(own, encoder) else kind


def estimator_facts(found: CalibratedEstimator, quality: str | None, encoder: CachedEncoder) -> dict[str, Any]:
    """What JSON holds of an estimator.

    Args:
        found: The estimator.
        quality: The policy's: the kind that is not written, because it goes without saying.
        encoder: The policy's.
    """
    kind = kind_of(found.estimator, encoder)
    config = None if kind == "foreign" else cast(_Saved, found.estimator).config
    facts: dict[str, Any] = {"calibrator": asdict(found.calibrator), "config": config}
    if kind != quality:
        facts["kind"] = kind
    if found.rival is not None:
        rival = cast(_Saved, found.rival.estimator).config
        facts["rival"] = {"config": rival, "weight": found.rival.weight, "mean": found.rival.mean}
    return facts


def release_facts(
    rule: ReleaseRule, whole: CalibratedEstimator | None, quality: str | None, encoder: CachedEncoder
) -> dict[str, Any]:
    """What JSON holds of a rule; a reader without a config is the estimator that reads whole answers."""
    readers = {
        str(words): {"calibrator": asdict(reader.calibrator), "config": None}
        if _shared(reader, whole)
        else estimator_facts(reader, quality, encoder)
        for words, reader in rule.readers.items()
    }
    return {"gates": list(rule.gates), "bars": list(rule.bars), "readers": readers}


def estimator_arrays(estimators: Mapping[str, CalibratedEstimator], encoder: CachedEncoder) -> Arrays:
    """The weights of all estimators that are saved, each under the name of its estimator."""
    saved = {name: found.estimator for name, found in estimators.items()}
    saved |= {f"{_RIVAL}{name}": found.rival.estimator for name, found in estimators.items() if found.rival}
    return {
        f"{name}/{key}": array
        for name, estimator in saved.items()
        if kind_of(estimator, encoder) != "foreign"
        for key, array in cast(_Saved, estimator).arrays().items()
    }


def release_arrays(
    rules: Mapping[str, ReleaseRule], estimators: Mapping[str, CalibratedEstimator], encoder: CachedEncoder
) -> Arrays:
    """The weights of the readers that are not the estimators of whole answers."""
    readers = {
        f"{words}/{model}": reader
        for model, rule in rules.items()
        for words, reader in rule.readers.items()
        if not _shared(reader, estimators.get(model))
    }
    return estimator_arrays(readers, encoder)


@dataclass(frozen=True)
class EstimatorLoader:
    """Makes estimators of what was saved.

    Raises:
        ValueError: What has to be given again was not given, or does not fit; the message says what to do.
    """

    path: str | os.PathLike[str]
    """Of the policy."""
    quality: str | None
    """The policy's."""
    encoder: CachedEncoder
    given: Given | Mapping[str, Given] | None

    def estimators(self, facts: Mapping[str, Any], arrays: Arrays) -> dict[str, CalibratedEstimator]:
        """Model → its estimator."""
        return {model: self._calibrated(found, arrays, model, model) for model, found in facts.items()}

    def releases(
        self, facts: Mapping[str, Any], arrays: Arrays, whole: Mapping[str, CalibratedEstimator]
    ) -> dict[str, ReleaseRule]:
        """Model → its rule of early release."""
        rules = {}
        for model, rule in facts.items():
            readers = {
                int(words): CalibratedEstimator(whole[model].estimator, _calibrator(found["calibrator"]))
                if found["config"] is None
                else self._calibrated(found, arrays, f"{words}/{model}", model)
                for words, found in rule["readers"].items()
            }
            rules[model] = ReleaseRule(tuple(rule["gates"]), tuple(rule["bars"]), readers)
        return rules

    def _calibrated(self, facts: Mapping[str, Any], arrays: Arrays, name: str, model: str) -> CalibratedEstimator:
        kind, config, rival = facts.get("kind", self.quality), facts["config"], facts.get("rival")
        estimator = self._estimator(str(kind), config, _own(arrays, name), model)
        weighed = None
        if rival is not None:
            against = self._estimator("embedding", rival["config"], _own(arrays, f"{_RIVAL}{name}"), model)
            weighed = Rival(against, rival["weight"], rival["mean"])
        return CalibratedEstimator(estimator, _calibrator(facts["calibrator"]), weighed)

    def _estimator(self, kind: str, config: Any, arrays: Arrays, model: str) -> QualityEstimator:
        if kind == "foreign":
            given = self._given(model, "an estimator of your own", "that estimator")
            if not hasattr(given, "predict_proba"):
                msg = f"quality= must be what {self.path} was fitted with, with predict_proba; found {given!r}."
                raise ValueError(msg)
            return cast(QualityEstimator, given)
        if kind not in _HOMES:
            msg = f"{self.path} holds an estimator of kind {kind!r}, which this version cannot read; upgrade."
            raise ValueError(msg)
        module, name = _HOMES[kind]
        home: Any = getattr(importlib.import_module(module), name)
        if kind == "module":
            network = self._given(model, "a network of your own; its weights are saved, its code is not", "that module")
            network = getattr(network, "module", network) if isinstance(network, home) else network
            return cast(QualityEstimator, home.from_arrays(config, arrays, self.encoder, network))
        return cast(QualityEstimator, home.from_arrays(config, arrays, self.encoder))

    def _given(self, model: str, what: str, wanted: str) -> Any:
        if self.given is None:
            msg = f"{self.path} was fitted with {what}: CascadePolicy.load(path, quality={wanted})."
            raise ValueError(msg)
        if not isinstance(self.given, Mapping):
            return self.given
        if model not in self.given:
            msg = f"quality= names no estimator for {model}, which {self.path} has one for; it names "
            raise ValueError(f"{msg}{', '.join(map(str, self.given)) or 'none'}.")
        return self.given[model]


def _own(arrays: Arrays, name: str) -> Arrays:
    """The arrays of one estimator, by their names in it."""
    split = {key: key.rsplit("/", 1) for key in arrays}
    return {last: arrays[key] for key, (first, last) in split.items() if first == name}


def _shared(reader: CalibratedEstimator, whole: CalibratedEstimator | None) -> bool:
    return whole is not None and reader.estimator is whole.estimator


def _same(one: Encoder, other: Encoder) -> bool:
    """Whether two encoders, cached or not, give the same vectors."""
    bare, other_bare = (found.encoder if isinstance(found, CachedEncoder) else found for found in (one, other))
    if isinstance(bare, SentenceTransformerEncoder) and isinstance(other_bare, SentenceTransformerEncoder):
        return bare.name == other_bare.name
    return bare is other_bare


def _calibrator(data: Mapping[str, Any]) -> Calibrator:
    platt, knots = data["platt"], data["knots"]
    return Calibrator(
        platt=None if platt is None else (platt[0], platt[1]),
        knots=None if knots is None else (tuple(knots[0]), tuple(knots[1])),
    )
