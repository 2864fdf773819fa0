"""Counts since the monitor began, for dashboards."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cascade_components.monitoring.observation import Observation

OTHER = "other"
"""Stands for models that the policy does not know, so that no label multiplies."""

SCORE_EDGES = tuple(number / 10 for number in range(1, 10))
LATENCY_EDGES = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds."""


def place_names(places: int) -> list[str]:
    """What clusters, and the place out of the map, are called where they are told apart by a word."""
    return [*map(str, range(places - 1)), "out_of_map"]


@dataclass
class Histogram:
    """How many values lay up to each edge and above the last one, and their sum."""

    counts: list[int]
    total: float = 0.0

    def add(self, edges: tuple[float, ...], value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(edges, value)] += 1
        self.total += value


@dataclass
class Totals:
    """Everything counted since the monitor began; of a fixed size."""

    calls: dict[str, int]
    """Model → calls that it answered."""
    escalations: dict[str, int]
    """Model → calls whose first answer was its, and was judged weak, so that another model was asked."""
    failures: dict[str, int]
    """Model → how often it failed; a retry that fails counts again."""
    scores: dict[str, Histogram]
    """Model → P(correct) of its answers; bins by `SCORE_EDGES`."""
    latency: Histogram
    """Of whole calls, in seconds; bins by `LATENCY_EDGES`."""
    clusters: list[int]
    """Calls in each cluster, and out of the map."""
    cost: float = 0.0
    """Of the calls whose cost is known, in USD."""
    unpriced: int = 0
    """Calls whose cost is not known."""
    fallbacks: int = 0
    """Calls that went on without a model that had failed."""
    estimator_failures: int = 0
    """Calls in which an estimator could not read an answer."""
    unrouted: int = 0
    """Calls that named their model, or held no text to route."""
    elsewhere: int = 0
    """Calls at another operating point, or of another policy."""

    @classmethod
    def fresh(cls, models: Iterable[str], places: int) -> Totals:
        """Nothing counted yet.

        Args:
            models: Of the policy.
            places: Clusters, and out of the map.
        """
        names = (*models, OTHER)
        scores = {name: Histogram([0] * (len(SCORE_EDGES) + 1)) for name in names}
        latency = Histogram([0] * (len(LATENCY_EDGES) + 1))
        calls, escalations, failures = (dict.fromkeys(names, 0) for _ in range(3))
        return cls(calls, escalations, failures, scores, latency, [0] * places)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Totals:
        """What `dataclasses.asdict` made of them."""
        scores = {name: Histogram(**found) for name, found in data["scores"].items()}
        return cls(**{**data, "scores": scores, "latency": Histogram(**data["latency"])})

    def add(self, seen: Observation, cost: float | None, latency_ms: float | None) -> None:
        """Count a call, whatever its policy."""
        self.calls[self._known(seen.model)] += 1
        answered = seen.answered
        if seen.escalated:
            self.escalations[self._known(answered[0])] += 1
        for model in seen.failures:
            self.failures[self._known(model)] += 1
        self.fallbacks += seen.fell_back
        self.estimator_failures += seen.estimator_failed
        for model, score in zip(answered, seen.scores, strict=False):
            if score is not None:
                self.scores[self._known(model)].add(SCORE_EDGES, score)
        if latency_ms is not None:
            self.latency.add(LATENCY_EDGES, latency_ms / 1000)
        if cost is None:
            self.unpriced += 1
        else:
            self.cost += cost

    def _known(self, model: str) -> str:
        return model if model in self.calls else OTHER
