"""A quality estimator without a network: how sure the model was of its tokens, mapped to P(correct)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_components.answers import Answer
from cascade_components.arrays import Floats
from cascade_components.calibration import Calibrator
from cascade_components.encoders import Encoder
from cascade_components.quality.labels import checked_labels


class MarginEstimator:
    """Estimates P(correct) by isotonic regression on the answer's mean token margin (UCCI, arXiv 2605.18796).

    UCCI's uncertainty is u = 1 − mean(p₁ − p₂), p₁ and p₂ being the probabilities of the two likeliest tokens at each
    position; the map from 1 − u to P(correct) is the only thing learned. One pseudo-answer at each end, a right one
    among the least sure and a wrong one among the surest, keeps it off 0 and 1. An answer without margins is judged
    by exp(mean log-probability), with a map of its own; one without either, by the share of answers that were right.

    Example:
        >>> answers = [Answer("4", token_margins=(margin,)) for margin in (0.2, 0.3, 0.4, 0.8, 0.9) * 4]
        >>> margins = MarginEstimator().fit(["2 + 2?"] * 20, answers, [0, 0, 0, 1, 1] * 4)
        >>> margins.predict_proba(["3 + 3?"], [Answer("6", token_margins=(0.9, 0.8))]).round(2)
        array([0.89])
    """

    def __init__(self) -> None:
        self.config: dict[str, Any] | None = None
        """What was learned, as JSON data: the map of each signal as its knots, and the share that was right."""

    def fit(self, queries: Sequence[str], answers: Sequence[Answer], correct: ArrayLike) -> Self:
        """Learn the maps from answers and what they were worth (0…1, shape (n,)).

        Raises:
            ValueError: No answer has margins or log-probabilities, the lengths differ, there are fewer than 10
                answers, or a label is outside 0…1.
        """
        label = checked_labels(queries, answers, correct)
        signals = _signals(answers)
        known = {name: ~np.isnan(values) for name, values in signals.items()}
        if not any(rows.any() for rows in known.values()):
            model = answers[0].model or "the model"
            msg = f"None of {len(answers)} answers of {model} has token_margins or token_logprobs, which "
            raise ValueError(msg + 'MarginEstimator reads: record them in the outcomes, or take quality="embedding".')
        maps = {name: _knots(signals[name][rows], label[rows]) for name, rows in known.items() if rows.any()}
        self.config = {"maps": maps, "share": float(label.mean())}
        return self

    def predict_proba(
        self,
        queries: Sequence[str],  # noqa: ARG002 - part of the protocol
        answers: Sequence[Answer],
    ) -> NDArray[np.float64]:
        """P(correct) of each answer, shape (n,).

        Raises:
            RuntimeError: The estimator has not been fitted.
        """
        if self.config is None:
            msg = "This MarginEstimator is not fitted; call fit first."
            raise RuntimeError(msg)
        scores = np.full(len(answers), np.nan)
        for name, values in _signals(answers).items():  # the better signal first
            if name in self.config["maps"]:
                rows = np.isnan(scores) & ~np.isnan(values)
                levels, shares = self.config["maps"][name]
                scores[rows] = Calibrator(knots=(tuple(levels), tuple(shares)))(values[rows])
        return np.where(np.isnan(scores), self.config["share"], scores)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Nothing: all that was learned is in `config`."""
        return {}

    @classmethod
    def from_arrays(
        cls,
        config: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]] | None = None,  # noqa: ARG003 - every estimator that is saved has this shape
        encoder: Encoder | None = None,  # noqa: ARG003
    ) -> MarginEstimator:
        """Rebuild a fitted estimator from its config."""
        found = cls()
        found.config = dict(config)
        return found


def _signals(answers: Sequence[Answer]) -> dict[str, Floats]:
    """How sure the model was of each answer, in [0, 1] and shape (n,), by the better signal first; NaN: unknown."""
    margins = [_mean(answer.token_margins) for answer in answers]
    logprobs = [math.exp(_mean(answer.token_logprobs)) for answer in answers]
    return {"margin": np.array(margins, float), "logprob": np.array(logprobs, float)}


def _mean(values: Sequence[float] | None) -> float:
    return sum(values) / len(values) if values else math.nan


def _knots(confidence: Floats, label: Floats) -> list[list[float]]:
    """Isotonic regression of correctness on confidence, as the points of a piecewise linear map."""
    from sklearn.isotonic import IsotonicRegression

    ends = [confidence.min(), confidence.max()]
    model = IsotonicRegression().fit(np.append(confidence, ends), np.append(label, [1.0, 0.0]))
    return [model.X_thresholds_.tolist(), model.y_thresholds_.tolist()]
