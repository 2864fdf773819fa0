"""The sketch of a window of calls: a fixed number of counts, whatever the number of calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cascade_components.monitoring.expectation import Expectation, Sample
from cascade_components.monitoring.observation import Observation


@dataclass
class Sums:
    """Numbers, added up."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Add one."""
        self.count += 1
        self.total += value
        self.squares += value * value

    @property
    def sample(self) -> Sample:
        """Their mean and variance; of one number at least."""
        mean = self.total / self.count
        variance = max(0.0, self.squares - self.count * mean**2) / max(1, self.count - 1)
        return Sample(self.count, mean, variance)


@dataclass
class Window:
    """What was seen of the calls since the window was opened."""

    clusters: list[int]
    """Calls in each cluster, and out of the map."""
    distances: list[int]
    """Calls in each bin of distances."""
    scores: dict[str, Sums]
    """Model → P(correct) of its first answers at gates."""
    cost: Sums
    """Per query, under the policy's metric."""
    calls: int = 0
    distance_sum: float = 0.0
    off_plan: int = 0
    """Calls that were not begun as their cluster's plan says: a model was out, a conversation stayed with its own."""
    released: int = 0
    """Answers whose scores are of their beginning only."""
    escalated: int = 0
    failed: int = 0
    """Calls in which a model failed."""

    @classmethod
    def fresh(cls, expected: Expectation) -> Window:
        """An empty window."""
        bins = 0 if expected.distances is None else len(expected.distances.counts)
        return cls([0] * len(expected.plans), [0] * bins, {model: Sums() for model in expected.scores}, Sums())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Window:
        """What `dataclasses.asdict` made of it."""
        scores = {model: Sums(**sums) for model, sums in data["scores"].items()}
        return cls(**{**data, "scores": scores, "cost": Sums(**data["cost"])})

    def add(self, seen: Observation, expected: Expectation, cost: float | None) -> None:
        """Count a call.

        Args:
            seen: The call, routed by the policy.
            expected: What the window was made for.
            cost: Under the policy's metric; None: unknown.
        """
        place = len(self.clusters) - 1 if seen.cluster is None else seen.cluster
        self.calls += 1
        self.clusters[place] += 1
        if expected.distances is not None:
            self.distances[expected.distances.place(seen.distance)] += 1
        self.distance_sum += seen.distance
        self.failed += bool(seen.failures)
        plan = expected.plans[place]
        if not seen.follows(plan):
            self.off_plan += 1
            return
        self.escalated += seen.escalated
        self.released += seen.released is not None
        score = seen.first_score
        if score is not None and plan.target is not None and plan.start in self.scores:
            self.scores[plan.start].add(score)
        if cost is not None and not seen.failures:
            self.cost.add(cost)
