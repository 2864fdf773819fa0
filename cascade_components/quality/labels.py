"""What answers were worth, checked before anything is learned from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from cascade_components.answers import Answer
from cascade_components.arrays import Floats

MIN_LABELS = 10
"""Answers below which nothing is learned."""


def checked_labels(queries: Sequence[str], answers: Sequence[Answer], correct: ArrayLike) -> Floats:
    """The labels as an array of shape (n,).

    Raises:
        ValueError: The lengths differ, there are fewer than 10 answers, or a label is outside 0…1.

    Example:
        >>> checked_labels(["2 + 2?"] * 10, [Answer("4")] * 10, [1] * 10).shape
        (10,)
    """
    label = np.asarray(correct, float)
    if label.ndim != 1 or not len(queries) == len(answers) == len(label) or len(label) < MIN_LABELS:
        msg = f"Training needs at least {MIN_LABELS} queries, answers and labels, as many of each; found {len(queries)}"
        raise ValueError(f"{msg}, {len(answers)}, and labels of shape {label.shape}.")
    if not ((label >= 0) & (label <= 1)).all():
        row = int(np.flatnonzero(~((label >= 0) & (label <= 1)))[0])
        msg = f"correct must lie in 0…1; found {label[row]} in row {row}."
        raise ValueError(msg)
    return label
