"""The rows of the table."""

from collections.abc import Callable
from dataclasses import dataclass

import ours
from baselines import avengers, cascade_routing, cascades, cre, pairs, routers, single
from fold import Fold
from sweeps import Sweep


@dataclass(frozen=True)
class Method:
    """One way to decide."""

    title: str
    run: Callable[[Fold], Sweep | None]
    """None: it has nothing to say about this source."""
    is_ours: bool = False


METHODS: dict[str, Method] = {
    "oracle": Method("oracle", single.oracle),
    "random": Method("random mix (hull of the models)", single.random_mix),
    "paper-stage1": Method("paper, sequential: Stage 1", ours.sequential_stage1),
    "paper": Method("paper, sequential: Stage 1 + 2", ours.sequential),
    "cre-stage1": Method(f"cre-router {cre.VERSION}, its code: Stage 1", cre.stage1),
    "cre": Method(f"cre-router {cre.VERSION}, its code: Stage 1 + 2", cre.both_stages),
    "uniroute": Method("UniRoute, k-means", routers.uniroute),
    "knn": Method("k nearest neighbours", routers.neighbours),
    "avengers": Method("Avengers-Pro style", avengers.avengers_pro),
    "logistic": Method("logistic regression for each model", routers.logistic_routing),
    "threshold": Method("query-only threshold (HybridLLM, RouteLLM style)", pairs.threshold_router),
    "frugal": Method("FrugalGPT", cascades.frugal),
    "ucci": Method("UCCI style threshold cascade", cascades.calibrated_threshold),
    "cascade-routing": Method("cascade routing (ETH)", cascade_routing.cascade_routing),
    "joint-noqe": Method("ours: joint, no estimator", ours.joint_without_quality, is_ours=True),
    "joint": Method("ours: joint", ours.joint, is_ours=True),
    "joint-static": Method("ours: joint, static embeddings", ours.joint_static, is_ours=True),
    "joint-retention": Method("ours: joint, by the retention asked", ours.joint_by_retention, is_ours=True),
    "joint-guarantee": Method("ours: joint, guaranteed at 95 %", ours.guaranteed, is_ours=True),
}
