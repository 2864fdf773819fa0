"""A policy of ours, really fitted, on synthetic outcomes: the small model is right half the time, and says so."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import cascade_components as cc

QUESTIONS = 200


class ReadsDoubt:
    """A quality estimator that doubts an answer that says it is unsure, and no other."""

    def __init__(self, unsure: str) -> None:
        self.unsure = unsure

    def predict_proba(self, queries: Sequence[str], answers: Sequence[cc.Answer]) -> np.ndarray:  # noqa: ARG002
        """P(correct) of each answer."""
        return np.array([0.05 if self.unsure in str(answer) else 0.95 for answer in answers])


def fit(unsure: str, **options: Any) -> cc.CascadePolicy:
    """Fit on outcomes in which the wrong answers say `unsure`; `options` go to `cc.fit`."""
    settings = {"quality": ReadsDoubt(unsure), **options}
    return cc.fit(_outcomes(unsure), encoder=_encode, clusters=1, progress=False, **settings)


def _encode(texts: Sequence[str]) -> np.ndarray:
    return np.ones((len(texts), 2))


def _outcomes(unsure: str) -> Iterator[dict[str, Any]]:
    for number in range(QUESTIONS):
        for model, correct, cost in (("small", number % 2, 0.1), ("large", 1, 1.0)):
            yield {
                "query_id": f"q{number}",
                "query": f"question {number}",
                "model": model,
                "output": "A fine answer." if correct else unsure,
                "correct": correct,
                "cost_usd": cost,
            }
