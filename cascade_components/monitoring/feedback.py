"""What is known of answers that were really given: who was right, where, and how the answer had come to stand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from cascade_components.monitoring.observation import Kind
from cascade_components.options import OptionTable

CHANGE = 0.1
"""Share of the cells that are thought to have changed before anything is known."""
CHANGE_WEIGHT = 10.0
"""How many cells that is worth."""
NEW_WEIGHT = 4.0
"""Answers that the policy's estimate is worth where the world has changed."""
_ROUNDS = 50


@dataclass(frozen=True)
class Cell:
    """The feedback on one model's answers in one cluster that came to stand in one way.

    The accuracy's prior is a Beta distribution with the policy's estimate as its mean.
    """

    model: str
    cluster: int
    stood: str
    """One of "ungated" (nobody judged them), "accepted" (at the plan's gate) and "escalated" (written by the plan's
    target, in the place of answers judged weak)."""
    prior: float
    """What the policy expects of such answers' accuracy, 0…1."""
    weight: float
    """What the prior counts for, in answers: those of the fit that it rests on."""
    count: int
    """Answers with feedback."""
    correct: float
    """Their sum, each 0…1."""

    @property
    def kind(self) -> Kind:
        """What the cell is about."""
        return self.model, self.cluster, self.stood

    @property
    def mean(self) -> float:
        """Posterior mean of the accuracy, if nothing has changed since the fit."""
        return self._mean(self.weight)

    def changed(self, share: float) -> float:
        """Probability that the accuracy is not what it was at the fit.

        Where it has changed, the old estimate counts for `NEW_WEIGHT` answers only. Bayes' rule weighs how well either
        prior foretold the feedback (a mixture of two beta-binomials).

        Args:
            share: Of such cells that have changed, before anything is known.
        """
        odds = (
            math.log(share / (1 - share)) + self._evidence(min(NEW_WEIGHT, self.weight)) - self._evidence(self.weight)
        )
        return 1 / (1 + math.exp(min(700.0, -odds)))

    def moved(self, share: float) -> float:
        """How much higher than the policy's estimate the accuracy is to be expected.

        Args:
            share: As in `changed`.
        """
        chance = self.changed(share)
        expected = chance * self._mean(min(NEW_WEIGHT, self.weight)) + (1 - chance) * self._mean(self.weight)
        return expected - self.prior

    def _mean(self, weight: float) -> float:
        return (weight * self.prior + self.correct) / (weight + self.count)

    def _evidence(self, weight: float) -> float:
        """Log probability of the feedback under a prior of this weight."""
        share = min(0.99, max(0.01, self.prior))
        right, wrong = weight * share, weight * (1 - share)
        return _log_beta(right + self.correct, wrong + self.count - self.correct) - _log_beta(right, wrong)


@dataclass(frozen=True)
class Feedback:
    """Feedback on a policy's answers, summed up; plain data, whatever the number of answers.

    Example:
        >>> feedback = monitor.feedback                            # doctest: +SKIP
        >>> policy = policy.refresh(feedback)                      # doctest: +SKIP
    """

    policy: str
    """Fingerprint of the policy."""
    cells: tuple[Cell, ...] = ()
    unused: int = 0
    """Feedback on answers that no estimate of the policy is about: out of the map, off the plan, after a failure."""

    @property
    def changed(self) -> float:
        """Share of the cells that have changed since the fit, as far as the feedback tells (by EM)."""
        share = CHANGE
        for _ in range(_ROUNDS):
            found = sum(cell.changed(share) for cell in self.cells)
            share = (CHANGE_WEIGHT * CHANGE + found) / (CHANGE_WEIGHT + len(self.cells))
        return share

    def shifts(self) -> dict[tuple[str, int], float]:
        """(model, cluster) → how much more accurate the model is there than the policy thought.

        Where its answers came to stand in several ways, the mean over those with feedback.
        """
        share, counts, sums = self.changed, dict[tuple[str, int], float](), dict[tuple[str, int], float]()
        for cell in self.cells:
            key = cell.model, cell.cluster
            counts[key] = counts.get(key, 0.0) + cell.count
            sums[key] = sums.get(key, 0.0) + cell.count * cell.moved(share)
        return {key: sums[key] / count for key, count in counts.items() if count}

    def applied(self, table: OptionTable) -> OptionTable:
        """The options with their accuracies moved: a plan's by as much as the models move whose answers stand in it.

        Raises:
            ValueError: The feedback is about a model or a cluster that the table does not have.
        """
        shift = np.zeros((len(table.models), len(table.sizes)))
        for (model, cluster), value in self.shifts().items():
            if model not in table.models or not 0 <= cluster < len(table.sizes):
                msg = f"The feedback is about {model} in cluster {cluster}, which the policy does not have."
                raise ValueError(msg)
            shift[table.models.index(model), cluster] = value
        escalated = np.where(table.target[:, None] >= 0, table.escalation, 0.0)
        moved = (1 - escalated) * shift[table.start] + escalated * shift[table.target]
        return replace(table, accuracy=np.clip(table.accuracy + moved, 0.0, 1.0))

    def __str__(self) -> str:
        share, total = self.changed, sum(cell.count for cell in self.cells)
        head = f"Feedback on {total} answers of policy {self.policy}, {self.unused} of no use to it"
        return "\n".join([head, *(f"  {_told(cell, share)}" for cell in self.cells)])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"policy": self.policy, "cells": [asdict(cell) for cell in self.cells], "unused": self.unused}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The feedback that `to_dict` wrote.

        Raises:
            ValueError: The data are none.
        """
        try:
            cells: Sequence[Mapping[str, Any]] = data["cells"]
            return cls(str(data["policy"]), tuple(Cell(**cell) for cell in cells), int(data["unused"]))
        except (KeyError, TypeError) as error:
            msg = f"This is no feedback ({type(error).__name__}: {error})."
            raise ValueError(msg) from None


def _told(cell: Cell, share: float) -> str:
    seen = cell.correct / cell.count if cell.count else float("nan")
    return (
        f"{cell.model} in cluster {cell.cluster}, {cell.stood}: expected {cell.prior:.3f}, seen {seen:.3f} of "
        f"{cell.count}, now {cell.prior + cell.moved(share):.3f} (changed: {cell.changed(share):.0%})"
    )


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
