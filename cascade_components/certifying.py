"""Certify a policy: test its operating points on queries that fitting has not seen, and keep the cheapest that passes.

Learn then Test (Angelopoulos et al., arXiv 2110.01052): the points are tested in an order that the training data have
fixed, each with the paired test of `certificate`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Self

import numpy as np

from cascade_components.arrays import Floats
from cascade_components.certificate import (
    FEWEST_QUERIES,
    Certificate,
    CheckedPlan,
    largest_capital,
    queries_needed,
    rejected_in_a_row,
    retention_bound,
)
from cascade_components.evaluation import Evaluation, evaluate, sweep
from cascade_components.outcomes import Outcomes, load_outcomes
from cascade_components.planning import OperatingPoint, Target
from cascade_components.policy import CascadePolicy

CALIBRATION_SHARE = 0.5
LONGEST_CHAIN = 64
"""Operating points to test; a front with more of them is thinned."""
SHUFFLE_SEED = 0
"""One order of the queries for everyone: nobody draws again until the test is passed."""
SPLIT_SALT = 7_919
"""Sets the calibration split apart from a user's own `Outcomes.split` with the same seed."""


def certify(
    policy: CascadePolicy, outcomes: Any, *, retention: float, confidence: float, progress: bool = True
) -> tuple[CascadePolicy, Certificate]:
    """Find the cheapest operating point that provably keeps a share of the strongest model's accuracy.

    The claim: with the confidence, over the draw of these queries, the expected accuracy of the policy returned is at
    least `retention` times the strongest model's. Where they support it for no cheaper plan, that policy always asks
    the strongest model, which needs no test.

    Args:
        policy: A fitted policy.
        outcomes: Whatever `load_outcomes` takes, of queries like those to come; none of them was used to fit.
        retention: Share of the strongest model's accuracy to keep, above 0 and at most 1.
        confidence: Between 0 and 1, such as 0.95.
        progress: Show progress bars on a terminal.

    Returns:
        The policy at the certified operating point, and the certificate.

    Raises:
        ValueError: A number is out of its range; the outcomes are bad, hold queries that the policy was fitted on, or
            lack the outcomes that a plan asks for on every query.

    Example:
        >>> policy, certificate = certify(policy, "held_out.jsonl", retention=0.98, confidence=0.95)  # doctest: +SKIP
        >>> print(certificate)                                                                        # doctest: +SKIP
    """
    check_claim(retention, confidence)
    loaded = load_outcomes(outcomes)
    _check_unseen(policy, loaded)
    safest = _always_strongest(policy)
    chain, planned = chain_of(policy, loaded, retention, progress=progress)
    testable = list(takewhile(lambda replay: replay.queries >= FEWEST_QUERIES, chain))
    checked = _checked(testable, retention, confidence)
    passed = rejected_in_a_row([plan.p_value for plan in checked], confidence)
    best = min(range(passed), key=lambda number: checked[number].cost_share, default=None)
    used = testable[: passed + 1] or chain[:1]
    counted = min((replay.queries for replay in used), default=len(loaded.queries))
    told = planned in chain and planned.queries >= FEWEST_QUERIES
    certificate = Certificate(
        strongest=policy.strongest,
        retention=retention,
        confidence=confidence,
        queries=counted,
        skipped=len(loaded.queries) - counted,
        tested=tuple(checked[: passed + 1]),
        planned=_checked([planned], retention, confidence)[0] if told else None,
        planned_bound=retention_bound(*planned.shuffled, confidence) if told else None,
    )
    point = safest if best is None else chain[best].policy.point
    return replace(policy, target=Target(retention=retention), point=point), certificate


def calibration_split(
    outcomes: Outcomes, share: float = CALIBRATION_SHARE, *, seed: int = 0
) -> tuple[Outcomes, Outcomes]:
    """Cut outcomes by query, for `fit` and for `certify`.

    Args:
        outcomes: All of them.
        share: About this share of the queries is for `certify`.
        seed: Another seed makes another cut.

    Returns:
        The part to fit on, and the part to certify on.

    Raises:
        ValueError: `share` is not between 0 and 1, or a part would be empty.

    Example:
        >>> train, held_out = calibration_split(load_outcomes("outcomes.jsonl"))   # doctest: +SKIP
    """
    held_out, train = outcomes.split(share, seed=SPLIT_SALT + seed)
    return train, held_out


def check_claim(retention: float, confidence: float) -> None:
    """Raise ValueError where these cannot be claimed."""
    if not 0 < retention <= 1:
        msg = f"The retention to certify must be above 0 and at most 1, found {retention}."
        raise ValueError(msg)
    if not 0 < confidence < 1:
        msg = f"confidence must lie between 0 and 1 (0.95, say), found {confidence}."
        raise ValueError(msg)


@dataclass(frozen=True, eq=False)
class Replayed:
    """An operating point on the calibration queries that have all the outcomes that it takes."""

    policy: CascadePolicy
    system: Floats
    """Accuracy on each query, shape (queries,)."""
    strongest: Floats
    cost: Floats
    strongest_cost: Floats

    @classmethod
    def of(cls, policy: CascadePolicy, found: Evaluation) -> Self:
        """Leave out the queries without an outcome of the strongest model."""
        known = ~np.isnan(found.per_query["strongest_accuracy"])
        names = ("accuracy", "strongest_accuracy", "cost", "strongest_cost")
        return cls(policy, *(found.per_query[name][known] for name in names))

    @property
    def queries(self) -> int:
        """How many there are."""
        return len(self.system)

    @property
    def shuffled(self) -> tuple[Floats, Floats]:
        """Accuracies of the system and of the strongest model, in the order of the test."""
        order = np.random.default_rng(SHUFFLE_SEED).permutation(self.queries)
        return self.system[order], self.strongest[order]


def chain_of(
    policy: CascadePolicy, outcomes: Outcomes, retention: float, *, progress: bool = True
) -> tuple[list[Replayed], Replayed]:
    """What is tested: the operating points that are cheaper than always asking the strongest, from the safest on.

    Only training data decide which they are and their order.

    Returns:
        The points, and the one planned for the retention, which is among them if it is cheaper.
    """
    planned, dearest = policy.at(retention=retention), _always_strongest(policy).cost * (1 - 1e-9)
    replays = list(map(Replayed.of, policy.front(), sweep(policy, outcomes, progress=progress)))
    replays.append(Replayed.of(planned, evaluate(planned, outcomes, progress=progress)))
    chain = [replay for replay in replays if replay.policy.point.cost < dearest]
    chain.sort(key=lambda replay: (-replay.policy.point.accuracy, -replay.policy.point.cost))
    if len(chain) > LONGEST_CHAIN:
        costs = np.array([replay.policy.point.cost for replay in chain])
        levels = np.linspace(costs.max(), costs.min(), LONGEST_CHAIN)
        kept = {int(np.abs(costs - level).argmin()) for level in levels} | {chain.index(replays[-1])}
        chain = [chain[number] for number in sorted(kept)]
    return chain, replays[-1]


def _checked(chain: list[Replayed], retention: float, confidence: float) -> list[CheckedPlan]:
    longest = max((replay.queries for replay in chain), default=0)
    system, strongest = np.full((2, len(chain), longest), np.nan)
    for row, replay in enumerate(chain):
        system[row, : replay.queries], strongest[row, : replay.queries] = replay.shuffled
    p_values = 1 / largest_capital(system, strongest, retention, confidence)
    return [
        CheckedPlan(
            expected_retention=replay.policy.point.accuracy / (replay.policy.planner.strongest_accuracy or 1.0),
            retention=float(replay.system.mean() / (replay.strongest.mean() or 1.0)),
            cost_share=float(replay.cost.mean() / (replay.strongest_cost.mean() or 1.0)),
            p_value=float(p_value),
            queries_needed=queries_needed(replay.system, replay.strongest, retention, confidence),
        )
        for replay, p_value in zip(chain, p_values, strict=True)
    ]


def _always_strongest(policy: CascadePolicy) -> OperatingPoint:
    table = policy.table
    alone = int(np.flatnonzero((table.start == len(policy.models) - 1) & (table.target < 0))[0])
    cost = float(table.weights @ table.cost(policy.factors)[alone])
    return OperatingPoint((alone,) * len(table.weights), policy.planner.strongest_accuracy, cost, cost_weight=0.0)


def _check_unseen(policy: CascadePolicy, outcomes: Outcomes) -> None:
    seen = outcomes.queries.keys() & set(policy.evidence.query_ids)
    if seen:
        msg = (
            f"{len(seen)} of the {len(outcomes.queries)} queries to certify on were used to fit the policy, "
            f"{min(seen)!r} among them: certify on others (calibration_split cuts outcomes in two)."
        )
        raise ValueError(msg)
