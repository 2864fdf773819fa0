"""Sweeps → figures with intervals, all methods of a source on the same bootstrap draws."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from data import Queries
from metrics import aiq, apgr, cost_to_reach, cpt, deferral_auc, each, resamples
from numpy.typing import NDArray
from sweeps import Sweep

from cascade_components.arrays import Floats

REACHED = (1.0, 0.99, 0.98, 0.97, 0.95)
"""Retentions at which costs are compared along the curves."""


@dataclass(frozen=True)
class Ground:
    """What all methods are measured against: the test queries, the single models, the bootstrap draws."""

    queries: Queries
    weights: Floats
    """Shape (draws + 1, queries), see `metrics.resamples`."""
    accuracy: Floats
    """Of each model, shape (draws + 1, models)."""
    cost: Floats
    """Mean, same shape."""
    strongest: int
    """The most accurate model on training data."""
    best: int
    """The most accurate model on the test queries."""
    cheapest: int
    dearest: int

    @classmethod
    def of(cls, tested: Queries, strongest: int) -> "Ground":
        """Draw, and measure the single models."""
        weights = resamples(len(tested))
        accuracy, cost = _means(weights, tested.correct.T), _means(weights, tested.cost.T)
        best, cheapest, dearest = int(accuracy[0].argmax()), int(cost[0].argmin()), int(cost[0].argmax())
        return cls(tested, weights, accuracy, cost, strongest, best, cheapest, dearest)

    @property
    def is_pair(self) -> bool:
        """Whether there are two models, and the cheaper is the weaker."""
        return len(self.queries.models) == 2 and self.cheapest != self.best


def _means(weights: Floats, columns: Floats) -> Floats:
    """Means of per-query columns (points, queries) under every draw, shape (draws, points)."""
    return np.asarray(weights @ columns.T)


def curve_figures(sweep: Sweep, ground: Ground) -> dict[str, Floats]:
    """What the curve is worth, for every draw, the data itself first."""
    accuracy, cost = _means(ground.weights, sweep.accuracy), _means(ground.weights, sweep.cost)
    base, full = ground.accuracy[:, ground.strongest], ground.cost[:, ground.strongest]
    found = {
        f"cost share at {kept:.0%} retention": np.minimum(cost_to_reach(cost, accuracy, kept * base) / full, 1.0)
        for kept in REACHED
    }
    best = ground.accuracy[:, ground.best], ground.cost[:, ground.best]
    found["QNC"] = np.minimum(cost_to_reach(cost, accuracy, best[0]) / best[1], 1.0)
    # Anyone can ask the cheapest model: the curves start there.
    low, high = ground.cost[:, ground.cheapest], ground.cost[:, ground.dearest]
    cost = np.concatenate([low[:, None], cost], 1)
    accuracy = np.concatenate([ground.accuracy[:, [ground.cheapest]], accuracy], 1)
    found["AIQ"] = np.array([aiq(*curve) for curve in zip(cost, accuracy, low, high, strict=True)])
    found["AUC"] = deferral_auc(cost, accuracy, low, high)
    found["decision"] = np.array([sweep.decision_us])
    found["decision"] = np.array([sweep.decision_us])
    found["AUC to 50 %"] = deferral_auc(cost, accuracy, low, np.maximum(high / 2, low))
    return found | (_pair_figures(sweep, ground) if ground.is_pair else {})


def _pair_figures(sweep: Sweep, ground: Ground) -> dict[str, Floats]:
    accuracy, calls = _means(ground.weights, sweep.accuracy), _means(ground.weights, _strong_calls(sweep, ground))
    weak, strong = ground.accuracy[:, ground.cheapest], ground.accuracy[:, ground.best]
    curves = calls, accuracy, weak, strong
    return {
        "APGR": each(apgr, *curves),
        "CPT50": each(partial(cpt, share=0.5), *curves),
        "CPT80": each(partial(cpt, share=0.8), *curves),
    }


def _strong_calls(sweep: Sweep, ground: Ground) -> Floats:
    """Whether (for random mixes: how often) the strong model is asked, told by the cost; shape (points, queries)."""
    weak, strong = ground.queries.cost[:, ground.cheapest], ground.queries.cost[:, ground.best]

    def is_(cost: Floats) -> NDArray[np.bool_]:
        return np.isclose(sweep.cost, cost, rtol=1e-9, atol=0.0)

    share = np.clip((sweep.cost - weak) / np.where(strong == weak, 1.0, strong - weak), 0.0, 1.0)
    return np.where(is_(weak), 0.0, np.where(is_(strong) | is_(weak + strong), 1.0, share))


def asked_figures(sweep: Sweep, ground: Ground) -> dict[str, Floats]:
    """What became of the points that training data said would meet a target."""
    base, full = ground.accuracy[:, ground.strongest], ground.cost[:, ground.strongest]
    found: dict[str, Floats] = {}
    for (kind, share), (accuracy, cost) in sweep.asked.items():
        right, spent = _means(ground.weights, accuracy[None])[:, 0], _means(ground.weights, cost[None])[:, 0]
        name = f"asked {kind} {share:.0%}"
        found[f"{name}: retention"] = right / base
        found[f"{name}: cost share"] = spent / full
        if kind == "budget":
            found[f"{name}: realised/asked"] = spent / full / share
    return found


def model_figures(ground: Ground) -> dict[str, dict[str, Floats]]:
    """Every model alone."""
    base, full = ground.accuracy[:, ground.strongest], ground.cost[:, ground.strongest]
    return {
        model: {
            "accuracy": ground.accuracy[:, column],
            "retention": ground.accuracy[:, column] / base,
            "cost share": ground.cost[:, column] / full,
        }
        for column, model in enumerate(ground.queries.models)
    }


def differences(mine: Mapping[str, Floats], other: Mapping[str, Floats]) -> dict[str, Floats]:
    """Paired differences of the figures that both have."""
    return {name: mine[name] - other[name] for name in mine if name in other and len(mine[name]) == len(other[name])}
