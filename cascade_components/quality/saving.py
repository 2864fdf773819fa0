"""Quality estimators as plain data and back: settings as JSON, weights as arrays. What is code is given again."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from numpy.typing import NDArray

from cascade_components.calibration import Calibrator
from cascade_components.cascade import QualityEstimator
from cascade_components.encoders import CachedEncoder, Encoder, spec_of
from cascade_components.facts import read_facts
from cascade_components.quality.calibrated import CalibratedEstimator, Rival
from cascade_components.quality.release import ReleaseRule
from cascade_components.quality.saved import CONFIGS, CalibratorFacts, EstimatorFacts, ReleaseFacts
from cascade_components.quality.saved_arrays import check_reader, check_weights
from cascade_components.storage import Arrays, DamagedFileError, Stored

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


_PANIC = "PanicException"
"""Of a library written in Rust; it is no `Exception`."""

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
    """Makes estimators of what was saved, once it has been checked. No code of it is run.

    Raises:
        ValueError: What has to be given again was not given, or does not fit; or a file is damaged. The message says
            what to do.
    """

    stored: Stored
    """The policy's folder."""
    quality: str | None
    """The policy's."""
    encoder: CachedEncoder
    dim: int
    """Of the encoder's vectors."""
    given: Given | Mapping[str, Given] | None

    def estimators(self, facts: Mapping[str, EstimatorFacts]) -> dict[str, CalibratedEstimator]:
        """Model → its estimator."""
        rivals = {f"{_RIVAL}{model}" for model, found in facts.items() if found.rival is not None}
        arrays = self._arrays("quality", {*facts, *rivals})
        place = "estimators."
        return {model: self._calibrated(found, arrays, model, model, place) for model, found in facts.items()}

    def releases(
        self, facts: Mapping[str, ReleaseFacts], whole: Mapping[str, CalibratedEstimator]
    ) -> dict[str, ReleaseRule]:
        """Model → its rule of early release."""
        arrays = self._arrays(
            "releases", {f"{words}/{model}" for model, rule in facts.items() for words in rule.readers}
        )
        rules = {}
        for model, rule in facts.items():
            place = f"releases.{model}.readers."
            readers = {
                int(words): CalibratedEstimator(whole[model].estimator, _calibrator(found.calibrator))
                if found.config is None
                else self._calibrated(found, arrays, f"{words}/{model}", model, place)
                for words, found in rule.readers.items()
            }
            rules[model] = ReleaseRule(tuple(rule.gates), tuple(rule.bars), readers)
        return rules

    def _calibrated(
        self, facts: EstimatorFacts, arrays: _Group, name: str, model: str, place: str
    ) -> CalibratedEstimator:
        estimator = self._estimator(facts.kind or str(self.quality), facts.config, arrays, name, model, place)
        weighed = None
        if facts.rival is not None:
            against = self._estimator("embedding", facts.rival.config, arrays, f"{_RIVAL}{name}", model, place)
            weighed = Rival(against, facts.rival.weight, facts.rival.mean)
        return CalibratedEstimator(estimator, _calibrator(facts.calibrator), weighed)

    def _estimator(self, kind: str, config: Any, arrays: _Group, name: str, model: str, place: str) -> QualityEstimator:
        if kind == "foreign":
            given = self._given(model, "an estimator of your own", "that estimator")
            if not hasattr(given, "predict_proba"):
                # Not the object itself: it may show its key.
                msg = f"quality= must be what {self.path} was fitted with, with predict_proba; found a "
                raise ValueError(f"{msg}{type(given).__name__}.")
            return cast(QualityEstimator, given)
        field = f"{place}{name}"
        if kind not in _HOMES or not isinstance(config, dict):
            raise DamagedFileError(
                self.stored.index, f"{field} must be an estimator with its config, found the kind {kind}"
            )
        read_facts(CONFIGS[kind], config, self.stored.index, f"{field}.config")
        own = arrays.of(name)
        module, home_name = _HOMES[kind]
        try:
            check_weights(kind, config, own, name=name, dim=self.dim, file=arrays.file)
            home: Any = getattr(importlib.import_module(module), home_name)
            if kind != "module":
                made = home.from_arrays(config, own, self.encoder)
                if kind == "sequence":
                    check_reader(made, name=name, file=arrays.file)
                return cast(QualityEstimator, made)
        except (DamagedFileError, ImportError):
            raise
        except BaseException as error:  # whatever a library makes of such data
            if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
                raise
            what = f"nothing can be made of {name} ({type(error).__name__}: {error})"
            raise DamagedFileError(arrays.file, what) from error
        network = self._given(model, "a network of your own; its weights are saved, its code is not", "that module")
        network = getattr(network, "module", network) if isinstance(network, home) else network
        try:
            return cast(QualityEstimator, home.from_arrays(config, own, self.encoder, network))
        except ValueError as error:
            msg = f"{self.path} holds another network for {model}: {error}"
            raise ValueError(msg) from error

    def _arrays(self, group: str, owners: Set[str]) -> _Group:
        file = self.stored.files.get(group, self.stored.folder / f"{group}.safetensors")
        found = _Group(file, self.stored.arrays.get(group, {}))
        for key in found.arrays:
            if key.rpartition("/")[0] not in owners:
                raise DamagedFileError(file, f"it has {key!r}, which belongs to no estimator")
        return found

    @property
    def path(self) -> Path:
        """Of the policy."""
        return self.stored.folder

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


@dataclass(frozen=True)
class _Group:
    """The arrays of a file."""

    file: Path
    arrays: Arrays

    def of(self, name: str) -> Arrays:
        """Those of one estimator, by their names in it."""
        split = {key: key.rpartition("/") for key in self.arrays}
        return {last: self.arrays[key] for key, (first, _, last) in split.items() if first == name}


def _shared(reader: CalibratedEstimator, whole: CalibratedEstimator | None) -> bool:
    return whole is not None and reader.estimator is whole.estimator


def _same(one: Encoder, other: Encoder) -> bool:
    """Whether two encoders, cached or not, give the same vectors."""
    bare, other_bare = (found.encoder if isinstance(found, CachedEncoder) else found for found in (one, other))
    return bare is other_bare or (spec_of(bare) is not None and spec_of(bare) == spec_of(other_bare))


def _calibrator(facts: CalibratorFacts) -> Calibrator:
    platt, knots = facts.platt, facts.knots
    return Calibrator(
        platt=None if platt is None else (platt[0], platt[1]),
        knots=None if knots is None else (tuple(knots[0]), tuple(knots[1])),
    )
