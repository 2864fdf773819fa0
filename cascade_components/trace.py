"""What a cascade decides about one query: the route and its plan, and the trace of every step. Plain, frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cluster's queries get: a start model and, where it is gated, whom to ask when the answer is weak."""

    start: str
    target: str | None = None
    """The model asked when the start model's answer is judged weak; None: the answer stands."""
    threshold: float | None = None
    """Accept the start model's answer at P(correct) >= threshold: the one for a query on which the strongest model has
    its usual chance, where gates weigh the gain."""

    def __str__(self) -> str:
        if self.target is None or self.threshold is None:
            return self.start
        return f"{self.start} → {self.target} below {self.threshold:{'.2f' if self.threshold >= 0.01 else '.1g'}}"


@dataclass(frozen=True, slots=True)
class Route:
    """A router's decision for one query."""

    plan: Plan
    cluster: int | None
    """The query's cluster; None where the query is out of the map."""
    distance: float
    """Euclidean distance to the nearest centroid."""
    reason: str


@dataclass(frozen=True, slots=True)
class EarlyRelease:
    """The estimator is so sure of an answer's beginning that the answer need not be held."""

    words: int
    """How many of its words were read."""
    score: float
    """Calibrated P(correct) of an answer that begins like this."""
    threshold: float
    """What the score had to reach."""


@dataclass(frozen=True)
class Trace:
    """Where one query stands in the cascade, and why. Immutable: each step returns a new trace."""

    query: str = field(repr=False)
    model: str
    """The model to ask now; once `done`, the model whose answer stands."""
    path: tuple[str, ...]
    """Every model asked, in order, the current one last."""
    done: bool
    cluster: int | None
    distance: float
    scores: tuple[float | None, ...]
    """Calibrated P(correct) of each answer judged so far; None where no estimator read it."""
    reasons: tuple[str, ...]
    target: str | None
    """Who is asked next if the estimator rejects this answer; None: it cannot reject (tokens may stream)."""
    threshold: float | None
    policy: str
    """Fingerprint of the policy."""
    available: frozenset[str] = field(repr=False)
    escalate: bool = True
    """False: the caller asked for no escalation, failed checks apart."""
    weak: tuple[str, ...] = ()
    """Models whose answers were judged weak."""
    failed_checks: tuple[str, ...] = ()
    failures: tuple[tuple[str, Exception], ...] = field(default=(), repr=False)
    released: float | None = None
    """P(correct) at which the answer of `model` was released before it was whole; None: it was not."""
    id: str = field(default_factory=lambda: uuid4().hex, compare=False)
    """Names the call, so that feedback can be given on it later; the same from its first trace to its last."""

    @property
    def reason(self) -> str:
        """Every step's reason, in order."""
        return "; ".join(self.reasons)

    @property
    def gated(self) -> bool:
        """Whether the estimator can still reject the answer of `model`."""
        return self.target is not None

    @property
    def escalated(self) -> bool:
        """Whether an answer was judged weak and another model was asked."""
        return bool(self.weak) and len(self.path) > 1

    def to_dict(self) -> dict[str, Any]:
        """The trace as plain JSON data, without the query's text and without the text of errors (no secrets)."""
        return {
            "id": self.id,
            "model": self.model,
            "path": list(self.path),
            "done": self.done,
            "escalated": self.escalated,
            "cluster": self.cluster,
            "distance": round(self.distance, 6),
            "scores": list(self.scores),
            "threshold": self.threshold,
            "released": self.released,
            "reason": self.reason,
            "reasons": list(self.reasons),
            "failed_checks": list(self.failed_checks),
            "failures": [{"model": model, "error": type(error).__name__} for model, error in self.failures],
            "policy": self.policy,
        }
