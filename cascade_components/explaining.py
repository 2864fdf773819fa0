"""What a policy would do with a question, and why, without asking a model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from cascade_components.arrays import Floats
from cascade_components.cascade import Cascade
from cascade_components.policy import CascadePolicy
from cascade_components.trace import Plan


@dataclass(frozen=True, slots=True)
class Alternative:
    """One model, asked alone."""

    model: str
    accuracy: float
    """Expected share of right answers."""
    cost: float
    """Expected cost per query, in the metric's units."""


@dataclass(frozen=True)
class Explanation:
    """The decision about one question, and what is expected of it.

    Where the question is out of the map, expectations are those over all queries of the fit: nothing closer is known.
    """

    query: str = field(repr=False)
    cluster: int | None
    """The question's cluster; None: out of the map."""
    size: int
    """How many queries of the fit the expectations rest on."""
    distance: float
    """Euclidean distance to the nearest centroid."""
    plan: Plan
    reason: str
    accuracy: float
    """Expected share of right answers."""
    cost: float
    """Expected cost per query, both stages together, in the metric's units."""
    escalation: float
    """Expected share of answers that are judged weak."""
    alternatives: tuple[Alternative, ...]
    """Each model of the pool alone, weakest first."""
    metric: str
    """Which measurement is Cost."""
    target: str
    """What the policy was planned for, such as "retention 0.98"."""
    cost_weight: float
    """λ of that operating point, in Eq. 2 units."""
    policy: str
    """Fingerprint of the policy at that operating point."""

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain JSON data, without the question's text."""
        data = {name: value for name, value in asdict(self).items() if name != "query"}
        return {**data, "alternatives": [asdict(one) for one in self.alternatives]}

    def __str__(self) -> str:
        where = "of this cluster" if self.cluster is not None else "of all clusters"
        width = max(len(one.model) for one in self.alternatives)
        return "\n".join(
            [
                f"plan: {self.plan}",
                f"why: {self.reason} (distance {self.distance:.3g})",
                f"expected, from {self.size} queries {where}: accuracy {self.accuracy:.3f}, "
                f"{self.metric} {self.cost:.4g}, escalates {self.escalation:.0%}",
                *(
                    f"  {one.model:<{width}} alone: accuracy {one.accuracy:.3f}, {self.metric} {one.cost:.4g}"
                    for one in self.alternatives
                ),
                f"policy {self.policy}: planned for {self.target}, cost weight {self.cost_weight:.3g}",
            ]
        )


def explain(
    policy: CascadePolicy,
    query: str,
    *,
    budget: float | None = None,
    retention: float | None = None,
    cost_weight: float | None = None,
) -> Explanation:
    """Say what would be done with a question, and why; no model is asked.

    Args:
        policy: The policy.
        query: The text that is routed.
        budget: Explain the policy at another operating point: this mean cost per query,
        retention: or this share of the strongest model's accuracy to keep,
        cost_weight: or this λ, in Eq. 2 units.

    Raises:
        ValueError: The question is empty, more than one operating point is given, or it cannot be met.

    Example:
        >>> print(explain(policy, "What is 2 + 2?", retention=0.95))     # doctest: +SKIP
    """
    if not budget is retention is cost_weight is None:
        policy = policy.at(budget=budget, retention=retention, cost_weight=cost_weight)
    trace = Cascade(policy).start(query)
    plan = Plan(trace.model, trace.target, trace.threshold)
    table, factors = policy.table, policy.factors
    weights = _weights(policy, trace.cluster)
    # The ungated options come first in the table, in the order of the models.
    option = policy.point.options[trace.cluster] if trace.cluster is not None else policy.models.index(plan.start)
    alone = table.pool(factors)
    accuracy, cost = (1 - alone.error) @ weights, alone.cost @ weights
    return Explanation(
        query=query,
        cluster=trace.cluster,
        size=round(float(table.sizes[weights > 0].sum())),
        distance=trace.distance,
        plan=plan,
        reason=trace.reason,
        accuracy=float(table.accuracy[option] @ weights),
        cost=float(table.cost(factors)[option] @ weights),
        escalation=float(table.escalation[option] @ weights),
        alternatives=tuple(map(Alternative, alone.models, accuracy.tolist(), cost.tolist())),
        metric=policy.metric,
        target=str(policy.target),
        cost_weight=policy.point.cost_weight,
        policy=policy.fingerprint,
    )


def _weights(policy: CascadePolicy, cluster: int | None) -> Floats:
    """How much each cluster says about the question."""
    weights = policy.table.weights
    return weights if cluster is None else np.eye(len(weights))[cluster]
