"""An estimator whose scores are mapped to P(correct), and what its answers are worth to a cascade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_components.answers import Answer
from cascade_components.calibration import Calibrator
from cascade_components.cascade import QualityEstimator
from cascade_components.quality.checks import failed_checks


@dataclass(frozen=True)
class CalibratedEstimator:
    """A quality estimator behind its calibrator; itself a quality estimator."""

    estimator: QualityEstimator
    calibrator: Calibrator

    def predict_proba(self, queries: Sequence[str], answers: Sequence[Answer]) -> NDArray[Any]:
        """P(correct) of each answer, shape (n,)."""
        return self.calibrator(self.estimator.predict_proba(queries, answers))


def gate_scores(probabilities: NDArray[Any], answers: Sequence[Answer]) -> NDArray[Any]:
    """What a gate decides on: P(correct), or 0 where a check fails and the answer is weak whatever was estimated."""
    return np.where([bool(failed_checks(answer)) for answer in answers], 0.0, probabilities)
