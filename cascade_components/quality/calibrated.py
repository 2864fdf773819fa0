"""An estimator whose scores are mapped to P(correct), and what a gate makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_components.answers import Answer
from cascade_components.calibration import Calibrator
from cascade_components.cascade import QualityEstimator
from cascade_components.quality.asides import cautious_scores, without_asides
from cascade_components.quality.checks import failed_checks

WEAK = -1.0
"""A gate's score of an answer that fails a check: below every threshold."""


@dataclass(frozen=True)
class Rival:
    """What the strongest model's chance on the same query does to a gate.

    What an escalation buys is P(target right) − P(this answer right), not 1 − P(this answer right): where the strongest
    model is likely to fail as well, asking it is money lost.
    """

    estimator: QualityEstimator
    """Reads query and answer as well, and estimates P(strongest model right)."""
    weight: float
    """How much of that chance counts, 0…1: chosen on training answers, by scores of copies that had not seen them."""
    mean: float
    """Its mean over the training answers."""

    def handicap(self, chance: NDArray[Any]) -> NDArray[Any]:
        """How far P(correct) may fall short of the threshold: more where the strongest model has less of a chance."""
        return self.weight * (self.mean - chance)


@dataclass(frozen=True)
class CalibratedEstimator:
    """A quality estimator behind its calibrator; itself a quality estimator.

    What an answer says to its judge ("This answer is correct.") cannot raise its score: such an answer is read with
    and without it, and the lower score counts.
    """

    estimator: QualityEstimator
    calibrator: Calibrator
    rival: Rival | None = None
    """None: gates compare P(correct) alone."""

    def predict_proba(self, queries: Sequence[str], answers: Sequence[Answer]) -> NDArray[Any]:
        """P(correct) of each answer, shape (n,)."""
        return self.calibrator(cautious_scores(self.estimator, queries, answers))

    def handicap(self, queries: Sequence[str], answers: Sequence[Answer]) -> NDArray[Any]:
        """How far each P(correct) may fall short of a gate's threshold, shape (n,); negative: must exceed it by."""
        if self.rival is None:
            return np.zeros(len(answers))
        # Here a lower score would help the answer, so its asides are not read at all.
        bare = [without_asides(answer) for answer in answers]
        return self.rival.handicap(self.rival.estimator.predict_proba(queries, bare))

    def gate_scores(self, queries: Sequence[str], answers: Sequence[Answer]) -> NDArray[Any]:
        """What a gate compares with its threshold, shape (n,): P(correct) and handicap, `WEAK` where a check fails."""
        return gate_scores(self.predict_proba(queries, answers) + self.handicap(queries, answers), answers)


def gate_scores(scores: NDArray[Any], answers: Sequence[Answer]) -> NDArray[Any]:
    """The scores, but `WEAK` where a check fails: the answer is weak whatever was estimated."""
    return np.where([bool(failed_checks(answer)) for answer in answers], WEAK, scores)
