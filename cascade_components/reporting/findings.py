"""Everything that a report tells, as plain numbers, from one replay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cascade_components.encoders.cache import CACHE_SIZE, CachedEncoder
from cascade_components.evaluation import Evaluation, Replay
from cascade_components.outcomes import Outcomes, load_outcomes
from cascade_components.policy import CascadePolicy
from cascade_components.reporting.gates import (
    Escalations,
    Reliability,
    ThresholdCurve,
    escalations,
    gate_count,
    reliabilities,
    threshold_curves,
)
from cascade_components.reporting.places import ClusterMap, WorstCluster, cluster_map, cluster_words, worst_clusters
from cascade_components.reporting.points import (
    Baseline,
    Point,
    alone,
    mix_and_oracle,
    operating_points,
    stage1_front,
    without_each,
)
from cascade_components.reporting.wording import Unit


@dataclass(frozen=True)
class Findings:
    """What a replay found."""

    policy: CascadePolicy
    unit: Unit
    points: list[Point]
    """From cheap to dear, the policy itself among them."""
    chosen: int
    """Position of the policy."""
    alone: list[Baseline]
    """Each model, weakest first."""
    others: list[Baseline]
    """Random mix, oracle, Stage 1 alone: as far as the outcomes tell."""
    stage1: list[Evaluation]
    """The front of plans without gates."""
    without: dict[str, Evaluation]
    """While each model is out."""
    reliabilities: list[Reliability]
    gates: int
    """How many there are that queries come to; the busiest of them have curves and escalations."""
    curves: list[ThresholdCurve]
    escalations: list[Escalations]
    words: list[tuple[str, ...]]
    """Of each cluster."""
    map: ClusterMap
    worst: list[WorstCluster]

    @property
    def evaluation(self) -> Evaluation:
        """The policy's replay."""
        return self.points[self.chosen].evaluation

    def name(self, cluster: int | None) -> str:
        """A cluster's typical words."""
        if cluster is None:
            return "out of the map"
        return ", ".join(self.words[cluster]) or f"cluster {cluster}"


def find(policy: CascadePolicy, outcomes: Any, *, progress: bool) -> Findings:
    """Replay the policy and all that it is compared with.

    Raises:
        ValueError: As `evaluate`.
    """
    loaded = load_outcomes(outcomes, progress=progress)
    with _remembering(policy.encoder, loaded):
        replay = Replay(policy, loaded, progress=progress)
        points, chosen = operating_points(policy, replay)
        here = points[chosen].evaluation
        stage1, same_target = stage1_front(policy, replay)
        others = mix_and_oracle(policy, replay, here.cost)
        return Findings(
            policy=policy,
            unit=Unit.of(policy.metric, here.cost),
            points=points,
            chosen=chosen,
            alone=alone(policy, replay),
            others=others if same_target is None else [*others, same_target],
            stage1=stage1,
            without=without_each(policy, replay),
            reliabilities=reliabilities(policy, replay),
            gates=gate_count(policy, replay),
            curves=threshold_curves(policy, replay),
            escalations=escalations(policy, replay),
            words=cluster_words(policy, replay),
            map=cluster_map(policy, replay),
            worst=worst_clusters(policy, replay, here.by_cluster),
        )


@contextmanager
def _remembering(encoder: CachedEncoder, outcomes: Outcomes) -> Iterator[None]:
    """Within it no text is embedded twice."""
    encoder.trim(CACHE_SIZE + len(outcomes.queries) + len(outcomes))
    try:
        yield
    finally:
        encoder.trim(CACHE_SIZE)
