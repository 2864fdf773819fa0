"""A certificate that a policy keeps its retention: the test, its inversion, and the plain record of both.

The test is a bet (Waudby-Smith & Ramdas, arXiv 2010.09686): a query gains `system − ρ·strongest`, and a gambler stakes
a share of their capital on each gain. Where the policy keeps less than ρ of the strongest model's accuracy the game is
unfair to the gambler, so the capital is a supermartingale, and reaches 1/δ with probability δ at most (Ville), whatever
the distribution and however few the queries. The stakes aim at 1/δ on the last query and aim anew after each one
(STaR-Bets, arXiv 2505.22422).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from cascade_components.arrays import Floats

LARGEST_STAKE = 0.99
"""Share of the capital that the worst query may take."""
PRIOR_MOMENT, PRIOR_QUERIES = 0.25, 10
"""The square of a gain before any is seen, and how many queries that is worth."""
FEWEST_QUERIES = 30
"""Below this nothing is tested."""
BOUND_STEP, BOUND_END = 0.0025, 1.2
"""Levels of retention among which `retention_bound` looks."""


def largest_capital(system: ArrayLike, strongest: ArrayLike, retention: ArrayLike, confidence: float) -> Floats:
    """Bet against "the system keeps less than `retention` of the strongest model's accuracy".

    Args:
        system: Accuracy on each query, 0…1, in random order, shape (..., n); NaN: not asked.
        strongest: The strongest model's accuracy on the same queries, broadcast against `system`.
        retention: The share ρ to keep, broadcast against the shape (...).
        confidence: 1 − δ. The stakes aim at 1/δ; the bet is fair whatever they aim at.

    Returns:
        The largest capital on the way from 1, shape (...). Where the system keeps less than `retention`, or just as
        much, a capital of x or more has probability 1/x at most.

    Example:
        >>> bool(largest_capital(np.ones(500), np.ones(500), 0.98, 0.95) >= 1 / 0.05)
        True
    """
    share = np.asarray(retention, float)
    gains = np.moveaxis(np.asarray(system, float) - share[..., None] * np.asarray(strongest, float), -1, 0)
    asked = ~np.isnan(gains)
    gains = np.where(asked, gains, 0.0)
    left = asked[::-1].cumsum(0)[::-1]
    goal, limit = -math.log1p(-confidence), LARGEST_STAKE / np.maximum(share, 0.01)
    capital = largest = np.zeros(gains.shape[1:])  # their logarithms
    moment, seen = PRIOR_MOMENT * PRIOR_QUERIES, float(PRIOR_QUERIES)
    for gain, known, remaining in zip(gains, asked, left, strict=True):
        aim = 2 * np.maximum(goal - capital, 0.0)
        stake = np.minimum(np.sqrt(aim * seen / (moment * np.maximum(remaining, 1))), limit)
        capital = capital + np.log1p(stake * gain)
        largest = np.maximum(largest, capital)
        moment, seen = moment + gain**2, seen + known
    return np.asarray(np.exp(largest))


def retention_bound(system: ArrayLike, strongest: ArrayLike, confidence: float) -> float:
    """The retention that the system keeps at least, with the confidence: every lower level is rejected.

    Args:
        system: Accuracy on each query, 0…1, in random order, shape (n,).
        strongest: The strongest model's accuracy on the same queries, shape (n,).
        confidence: 1 − δ.

    Returns:
        One of the levels 0, 0.0025, …, 1.2.

    Example:
        >>> 0.98 < retention_bound(np.ones(1000), np.ones(1000), 0.95) < 1
        True
    """
    levels = np.arange(0.0, BOUND_END + BOUND_STEP / 2, BOUND_STEP)
    capital = largest_capital(system, strongest, levels, confidence)
    return float(levels[max(0, rejected_in_a_row(1 / capital, confidence) - 1)])


def rejected_in_a_row(p_values: ArrayLike, confidence: float) -> int:
    """Fixed-sequence testing (Learn then Test, arXiv 2110.01052): how many hypotheses fall before one stands.

    Each is tested at the full δ = 1 − confidence, and still the chance of any false rejection is at most δ, if their
    order was fixed before the data were seen.

    Example:
        >>> rejected_in_a_row([0.01, 0.04, 0.2, 0.001], 0.95)
        2
    """
    stands = np.asarray(p_values, float) > (1 - confidence) * (1 + 1e-9)
    return int(stands.argmax()) if stands.any() else len(stands)


def queries_needed(system: ArrayLike, strongest: ArrayLike, retention: float, confidence: float) -> int | None:
    """With how many queries like these the capital would reach 1/δ: log(1/δ) over its best growth rate.

    The stakes of `largest_capital` get there in about seven of ten samples of this size.

    Returns:
        None where no number would do: these queries don't keep the retention.

    Example:
        >>> queries_needed(np.ones(50), np.ones(50), 0.98, 0.95)
        150
    """
    gains = np.asarray(system, float) - retention * np.asarray(strongest, float)
    rate = _growth_rate(gains, LARGEST_STAKE / max(retention, 0.01))
    return math.ceil(-math.log1p(-confidence) / rate) if rate > 1e-12 else None


def _growth_rate(gains: Floats, limit: float) -> float:
    """Mean log growth of the capital under the best constant stake (Kelly); concave, so its slope is bisected."""
    low, high = 0.0, limit
    for _ in range(60):
        stake = (low + high) / 2
        low, high = (stake, high) if (gains / (1 + stake * gains)).mean() > 0 else (low, stake)
    return float(np.log1p(low * gains).mean())


@dataclass(frozen=True)
class CheckedPlan:
    """One operating point on the calibration queries."""

    expected_retention: float
    """Share of the strongest model's accuracy on the training data."""
    retention: float
    """The same on the calibration queries."""
    cost_share: float
    """Cost on the calibration queries, as a share of always asking the strongest model."""
    p_value: float
    queries_needed: int | None
    """How many queries like these would certify it (see `queries_needed`); None: no number would."""


@dataclass(frozen=True)
class Certificate:
    """What the calibration queries say about a policy's retention; plain data, so it saves as JSON.

    Example:
        >>> print(certificate)   # doctest: +SKIP
        Certified with 95% confidence: at least 98.0% of large's accuracy, at 58% of its cost (99.4% measured on …
    """

    strongest: str
    retention: float
    """The share of the strongest model's accuracy to keep."""
    confidence: float
    queries: int
    """Calibration queries that count."""
    skipped: int
    """Those left out, for want of the outcome of the strongest model or of one that the plan asks."""
    tested: tuple[CheckedPlan, ...]
    """In the order tested, from the safest on: those that are certified, then the first that is not."""
    planned: CheckedPlan | None
    """What the retention without a confidence would have planned; None: always asking the strongest."""
    planned_bound: float | None
    """`planned` keeps at least this share, with the confidence (see `retention_bound`)."""

    @property
    def certified(self) -> bool:
        """Whether a plan that is cheaper than always asking the strongest model, which needs no test, is certified."""
        return self.plan is not None

    @property
    def plan(self) -> CheckedPlan | None:
        """The cheapest certified plan; None: the strongest model is always asked."""
        count = rejected_in_a_row([plan.p_value for plan in self.tested], self.confidence)
        return min(self.tested[:count], key=lambda plan: plan.cost_share, default=None)

    @property
    def queries_needed(self) -> int | None:
        """Where nothing is certified: how many calibration queries the safest plan needs; None: no number would do."""
        if self.tested and not self.certified:
            return self.tested[0].queries_needed
        if self.queries >= FEWEST_QUERIES:
            return None
        always_right = np.ones(1)
        return max(FEWEST_QUERIES, queries_needed(always_right, always_right, self.retention, self.confidence) or 0)

    def __str__(self) -> str:
        kept, sure = f"{self.retention:.1%} of {self.strongest}'s accuracy", f"{100 * self.confidence:.4g}% confidence"
        counted = f"{self.queries:,} calibration queries" + (f" ({self.skipped:,} left out)" if self.skipped else "")
        if self.plan is not None:
            lines = [
                f"Certified with {sure}: at least {kept}, at {self.plan.cost_share:.0%} of its cost",
                f"measured on {counted}: {self.plan.retention:.1%}",
            ]
        elif self.queries < FEWEST_QUERIES:
            lines = [
                f"Not certified: {self.strongest} is always asked",
                f"{counted} are too few to test a plan on; {self.queries_needed} are the least",
            ]
        elif not self.tested:
            lines = [f"Certified: {self.strongest} is always asked, no plan is cheaper"]
        else:
            needed = f"; about {self.queries_needed:,} would" if self.queries_needed else ""
            lines = [
                f"Not certified: {self.strongest} is always asked",
                f"with {sure}, {counted} support no cheaper plan at {kept}{needed}",
            ]
        return "\n".join(lines + self._without_confidence(sure))

    def _without_confidence(self, sure: str) -> list[str]:
        used = 1.0 if self.plan is None else self.plan.cost_share
        if self.planned is None or self.planned_bound is None or self.planned.cost_share >= used:
            return []
        needed = self.planned.queries_needed
        return [
            f"planned without a confidence: {self.planned.cost_share:.0%} of the cost; measured "
            f"{self.planned.retention:.1%}, with {sure} at least {self.planned_bound:.1%}"
            + (f" (about {needed:,} queries would certify it)" if needed else "")
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self) | {"tested": [asdict(plan) for plan in self.tested]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The certificate that `to_dict` wrote."""
        planned = None if data["planned"] is None else CheckedPlan(**data["planned"])
        tested = tuple(CheckedPlan(**plan) for plan in data["tested"])
        return cls(**{**data, "tested": tested, "planned": planned})
