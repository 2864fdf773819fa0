"""Scores → P(correct): Platt and isotonic calibration, reliability, ECE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cascade_components.arrays import Floats

ISOTONIC_FROM = 1000
"""Below about a thousand points isotonic regression overfits and Platt's two parameters win."""


@dataclass(frozen=True)
class Calibrator:
    """A monotone map from scores to P(correct); plain data, so it saves as JSON.

    `platt` holds (slope, intercept) on the log-odds of the score; `knots` holds the points of a piecewise linear
    map (isotonic regression). Exactly one of the two is given.

    Example:
        >>> float(Calibrator(platt=(1.0, 0.0))([0.25])[0])
        0.25
    """

    platt: tuple[float, float] | None = None
    knots: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def __call__(self, scores: ArrayLike) -> Floats:
        """Map scores in [0, 1] to P(correct), same shape."""
        raw = np.asarray(scores, float)
        if self.platt is not None:
            slope, intercept = self.platt
            return np.asarray(1 / (1 + np.exp(-(slope * _log_odds(raw) + intercept))))
        if self.knots is None:
            return raw
        return np.asarray(np.interp(raw, *self.knots))


def fit_calibrator(scores: ArrayLike, correct: ArrayLike) -> Calibrator:
    """Fit a calibrator on held-out scores: Platt below 1,000 points, isotonic from there on.

    Args:
        scores: Scores in [0, 1], shape (n,), from an estimator that has not seen these answers.
        correct: 0…1, shape (n,).

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> calibrator = fit_calibrator([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
        >>> bool(calibrator([0.9])[0] > calibrator([0.1])[0])
        True
    """
    raw, label = np.asarray(scores, float), np.asarray(correct, float)
    if raw.shape != label.shape or raw.ndim != 1:
        msg = f"scores and correct must have one shape (n,), found {raw.shape} and {label.shape}."
        raise ValueError(msg)
    if len(raw) >= ISOTONIC_FROM:
        return _isotonic(raw, label)
    return _platt(raw, label)


def _platt(raw: Floats, label: Floats) -> Calibrator:
    from sklearn.linear_model import LogisticRegression

    # Soft labels: each answer counts as right with its credit and as wrong with the rest. One pseudo-answer of
    # each kind keeps the slope finite where the scores separate the labels.
    features = np.concatenate([raw, raw, [0.5, 0.5]])
    weight = np.concatenate([label, 1 - label, [1.0, 1.0]])
    kind = np.concatenate([np.ones(len(raw)), np.zeros(len(raw)), [1, 0]])
    model = LogisticRegression(C=10.0).fit(_log_odds(features)[:, None], kind, sample_weight=weight)
    slope = max(0.0, float(model.coef_[0, 0]))  # a map that turned the order round would be noise
    if slope == 0.0:
        mean = (label.sum() + 1) / (len(label) + 2)
        return Calibrator(platt=(0.0, float(_log_odds(np.array([mean]))[0])))
    return Calibrator(platt=(slope, float(model.intercept_[0])))


def _isotonic(raw: Floats, label: Floats) -> Calibrator:
    """Isotonic regression, drawn through the middle of each of its steps (Oron and Flournoy 2017).

    On a step all scores would look alike, and a gate could not tell them apart.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit_transform(raw, label)
    levels, step = np.unique(fitted, return_inverse=True)
    middles = np.bincount(step, weights=raw) / np.bincount(step)
    return Calibrator(knots=(tuple(map(float, middles)), tuple(map(float, levels))))


def _log_odds(scores: Floats) -> Floats:
    clipped = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))


def reliability(probabilities: ArrayLike, correct: ArrayLike, bins: int = 10) -> list[tuple[float, float, int]]:
    """Mean probability, share correct and count of each equal-width bin that holds answers.

    Example:
        >>> reliability([0.1, 0.9], [0, 1], bins=2)
        [(0.1, 0.0, 1), (0.9, 1.0, 1)]
    """
    probability, label = np.asarray(probabilities, float), np.asarray(correct, float)
    bin_of = np.minimum((probability * bins).astype(int), bins - 1)
    inside = [bin_of == number for number in range(bins)]
    return [(float(probability[b].mean()), float(label[b].mean()), int(b.sum())) for b in inside if b.any()]


def expected_calibration_error(probabilities: ArrayLike, correct: ArrayLike, bins: int = 10) -> float:
    """ECE: the mean distance between probability and share correct over equal-width bins, weighted by count.

    Example:
        >>> expected_calibration_error([0.5, 0.5], [0, 1])
        0.0
    """
    rows = reliability(probabilities, correct, bins)
    return sum(count * abs(mean - share) for mean, share, count in rows) / sum(count for _, _, count in rows)
