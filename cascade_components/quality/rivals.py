"""How much the strongest model's chance on the same query should count in a gate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cascade_components.answers import Answer
from cascade_components.arrays import Floats
from cascade_components.quality.calibrated import Rival, gate_scores
from cascade_components.quality.training import OutOfFold

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)

MAX_ESCALATION = 0.8
"""Share of escalated answers up to which gates are compared: beyond it asking the strongest at once is cheaper."""


def choose_rival(trained: OutOfFold, own: Floats, correct: Floats, rival: Floats, answers: Sequence[Answer]) -> Rival:
    """Choose the weight at which the gate's order of escalation gains most, by scores of copies that had not seen it.

    Args:
        trained: An estimator of P(strongest model right) from this model's answers.
        own: Calibrated out-of-fold P(correct), shape (n,).
        correct: 0…1, shape (n,).
        rival: Whether the strongest model was right on the same query, 0…1, shape (n,).
        answers: This model's.
    """
    mean = float(trained.scores.mean())
    rivals = [Rival(trained.estimator, weight, mean) for weight in WEIGHTS]
    gains = [_gain(gate_scores(own + found.handicap(trained.scores), answers), rival - correct) for found in rivals]
    return rivals[int(np.argmax(gains))]


def _gain(scores: Floats, won: Floats) -> float:
    """Accuracy won by escalating the lowest scores first, averaged over shares up to `MAX_ESCALATION`."""
    order = np.argsort(scores, kind="stable")
    return float(np.cumsum(won[order])[: max(1, int(MAX_ESCALATION * len(won)))].mean())
