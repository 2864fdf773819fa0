"""What every method returns: operating points that were found on training data, replayed query by query on a test part.

Points are aligned over folds by the knob, whose settings are the same in every fold: point j of a method is "the method
with its knob at setting j", and each query is answered by the fold that has not seen it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cascade_components.arrays import Floats, Labels

RETENTIONS = (0.99, 0.98, 0.97, 0.95)
BUDGETS = (0.3, 0.5, 0.7)
"""Shares of the mean cost of always asking the strongest model."""

COST_WEIGHTS: Floats = np.concatenate([[0.0], np.geomspace(2e-3, 2.0, 45), [5.0, 20.0, 1e6]])
"""λ: the accuracy that one unit of normalised cost is worth; the first ignores cost, the last all but cost."""

BUDGET_GRID: Floats = np.linspace(0.02, 1.3, 65)
"""Budgets, in shares as above, of the methods that search for the best they can do within one."""

Targets = tuple[tuple[str, float], ...]
TARGETS: Targets = (
    *(("retention", share) for share in RETENTIONS),
    *(("budget", share) for share in BUDGETS),
)
"""What methods are asked for beforehand."""

Replayed = tuple[Floats, Floats]
"""Accuracy and cost of each test query."""


@dataclass(frozen=True)
class Sweep:
    """One method on one test part."""

    accuracy: Floats
    """Shape (points, queries)."""
    cost: Floats
    """USD, same shape."""
    asked: Mapping[tuple[str, float], Replayed] = field(default_factory=dict)
    """For each target of `TARGETS`, the point that training data said would meet it."""
    decision_us: float = float("nan")
    """Time of the decisions about one query whose vectors are known."""
    note: str = ""
    """What was tuned, and to what."""


def join(parts: Sequence[Sweep]) -> Sweep:
    """One sweep over the queries of all folds."""
    asked = {
        target: (
            np.concatenate([part.asked[target][0] for part in parts]),
            np.concatenate([part.asked[target][1] for part in parts]),
        )
        for target in parts[0].asked
        if all(target in part.asked for part in parts)
    }
    return Sweep(
        np.concatenate([part.accuracy for part in parts], axis=1),
        np.concatenate([part.cost for part in parts], axis=1),
        asked,
        float(np.mean([part.decision_us for part in parts])),
        "; ".join(dict.fromkeys(part.note for part in parts if part.note)),
    )


@dataclass(frozen=True)
class Reference:
    """The strongest model on the training part: what retention and budgets are relative to."""

    accuracy: float
    cost: float


def choose(accuracy: Floats, cost: Floats, reference: Reference, target: tuple[str, float]) -> int:
    """The candidate that meets a target on training data, best for its purpose; the nearest to it where none does.

    >>> choose(np.array([0.5, 0.7, 0.8]), np.array([1.0, 2.0, 4.0]), Reference(0.8, 4.0), ("retention", 0.8))
    1
    >>> choose(np.array([0.5, 0.7, 0.8]), np.array([1.0, 2.0, 4.0]), Reference(0.8, 4.0), ("budget", 0.6))
    1
    """
    kind, share = target
    if kind == "retention":
        meets = accuracy >= share * reference.accuracy - 1e-12
        return int(np.where(meets, cost, np.inf).argmin() if meets.any() else accuracy.argmax())
    within = cost <= share * reference.cost + 1e-15
    return int(np.where(within, accuracy, -np.inf).argmax() if within.any() else cost.argmin())


def swept(
    accuracy: Floats,
    cost: Floats,
    reference: Reference,
    replay: Callable[[int], Replayed],
    points: Sequence[int] | None = None,
    *,
    decision_us: float = float("nan"),
    note: str = "",
) -> Sweep:
    """A sweep over candidates, of which training data tells accuracy and cost.

    Args:
        accuracy: Of each candidate on training (validation) data, shape (candidates,).
        cost: Same shape.
        reference: The strongest model there.
        replay: Candidate → accuracy and cost of each test query.
        points: The candidates along the knob; None: the best within each budget of `BUDGET_GRID`.
        decision_us: As in `Sweep`.
        note: As in `Sweep`.
    """
    if points is None:
        points = [choose(accuracy, cost, reference, ("budget", float(share))) for share in BUDGET_GRID]
    asked = {target: choose(accuracy, cost, reference, target) for target in TARGETS}
    known = {candidate: replay(candidate) for candidate in {*points, *asked.values()}}
    return Sweep(
        np.stack([known[candidate][0] for candidate in points]),
        np.stack([known[candidate][1] for candidate in points]),
        {target: known[candidate] for target, candidate in asked.items()},
        decision_us,
        note,
    )


def by_model(correct: Floats, cost: Floats, chosen: Labels) -> Replayed:
    """Accuracy and cost of asking one model for each query."""
    rows = np.arange(len(chosen))
    return correct[rows, chosen], cost[rows, chosen]
