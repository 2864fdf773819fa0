"""An estimator whose scores are mapped to P(correct)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from cascade_components.answers import Answer
from cascade_components.calibration import Calibrator
from cascade_components.cascade import QualityEstimator


@dataclass(frozen=True)
class CalibratedEstimator:
    """A quality estimator behind its calibrator; itself a quality estimator."""

    estimator: QualityEstimator
    calibrator: Calibrator

    def predict_proba(self, queries: Sequence[str], answers: Sequence[Answer]) -> NDArray[Any]:
        """P(correct) of each answer, shape (n,)."""
        return self.calibrator(self.estimator.predict_proba(queries, answers))
