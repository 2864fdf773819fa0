"""What a monitor looks at of one call: numbers and names, never a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade_components.gate import ESTIMATOR_FAILED
from cascade_components.trace import Plan, Trace

Kind = tuple[str, int, str]
"""Model, cluster, and how its answer came to stand there: "ungated", "accepted" or "escalated"."""


@dataclass(slots=True)
class Observation:
    """One call that is done."""

    id: str
    policy: str
    model: str
    path: Sequence[str]
    cluster: int | None
    distance: float
    scores: Sequence[float | None]
    threshold: float | None
    escalated: bool
    released: float | None
    failures: Sequence[str]
    """Models that failed."""
    failed_checks: Sequence[str]

    @classmethod
    def of(cls, trace: Trace | Mapping[str, Any]) -> Observation:
        """Read a trace, or what its `to_dict` made of it.

        Raises:
            ValueError: It is not done, or no trace.
        """
        if isinstance(trace, Trace):
            fields, done = trace, trace.done
            seen = cls(
                *(fields.id, fields.policy, fields.model, fields.path, fields.cluster, fields.distance),
                *(fields.scores, fields.threshold, fields.escalated, fields.released),
                [model for model, _ in fields.failures] if fields.failures else (),
                fields.failed_checks,
            )
        else:
            try:
                done = trace["done"]
                seen = cls(
                    *(trace["id"], trace["policy"], trace["model"], trace["path"], trace["cluster"]),
                    *(trace["distance"], trace["scores"], trace["threshold"], trace["escalated"], trace["released"]),
                    [failure["model"] for failure in trace["failures"]],
                    trace["failed_checks"],
                )
            except (KeyError, TypeError) as error:
                msg = f"This is no trace ({type(error).__name__}: {error}); give a Trace, or what its to_dict() made."
                raise ValueError(msg) from None
        if not done:
            msg = f"The call {seen.id} is not done: record it when its answer stands."
            raise ValueError(msg)
        return seen

    @property
    def routed(self) -> bool:
        """Whether the query was looked up on the map; a model that was asked for by name has no place there."""
        return self.cluster is not None or self.distance > 0

    @property
    def answered(self) -> Sequence[str]:
        """The path without the attempts that failed."""
        if not self.failures:
            return self.path
        left = list(self.path)
        for model in self.failures:
            if model in left:  # one that was asked beside another is not
                left.remove(model)
        return left

    @property
    def fell_back(self) -> bool:
        """Whether the call went on without a model that failed."""
        return bool(self.failures) and len({*self.answered}) < len({*self.path})

    @property
    def first_score(self) -> float | None:
        """P(correct) of the first whole answer; None: no estimator read it, or only its beginning."""
        if not self.scores or (self.released is not None and len(self.scores) == 1):
            return None
        return self.scores[0]

    @property
    def estimator_failed(self) -> bool:
        """Whether an estimator could not read an answer."""
        return ESTIMATOR_FAILED in self.failed_checks

    def follows(self, plan: Plan) -> bool:
        """Whether the first answer was that of the plan's first model, and was judged, or not, as the plan says."""
        answered = self.answered
        if not answered or answered[0] != plan.start:
            return False
        # An escalation takes the threshold off the trace.
        return self.escalated or (len(answered) == 1 and self.threshold == plan.threshold)

    def kind(self, plan: Plan) -> Kind | None:
        """How the answer came to stand under its cluster's plan; None: in no way that the policy expects.

        "ungated": nobody judged it; "accepted" at the plan's gate; "escalated": the plan's target wrote it.
        """
        if self.cluster is None or self.failures or self.failed_checks:
            return None
        if len(self.path) == 1 and self.threshold is None:
            return self.model, self.cluster, "ungated"
        if not self.follows(plan) or plan.target is None:
            return None
        if not self.escalated:
            judged = bool(self.scores) and self.scores[-1] is not None
            return (self.model, self.cluster, "accepted") if judged else None
        return (self.model, self.cluster, "escalated") if tuple(self.path) == (plan.start, plan.target) else None
