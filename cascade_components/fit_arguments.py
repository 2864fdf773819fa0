"""What `fit` may be asked for: its arguments, checked."""

from __future__ import annotations

from typing import Literal, get_args

from cascade_components.certifying import check_claim
from cascade_components.judging import Gate
from cascade_components.outcomes import Metric
from cascade_components.planning import Strategy, Target

DEFAULT_RETENTION = 0.98

Quality = Literal["embedding", "sequence", "margins"]


def checked_target(budget: float | None, retention: float | None, cost_weight: float | None) -> Target:
    """The one of the three that was given; without any the default."""
    if budget is None and retention is None and cost_weight is None:
        return Target(retention=DEFAULT_RETENTION)
    return Target(budget, retention, cost_weight)


def check_confidence(target: Target, confidence: float) -> None:
    """Raise ValueError where this cannot be certified."""
    if target.retention is None:
        msg = f"confidence= certifies a retention, and the target is a {target}: give retention= with it, or neither."
        raise ValueError(msg)
    check_claim(target.retention, confidence)


def check_choices(cost: str, strategy: str, quality: object, gate: str, clusters: object) -> None:
    """Raise ValueError where a choice is none of those there are."""
    allowed: list[tuple[str, object, tuple[object, ...]]] = [
        ("cost", cost, get_args(Metric)),
        ("strategy", strategy, get_args(Strategy)),
        ("gate", gate, get_args(Gate)),
    ]
    if quality is not None and not hasattr(quality, "predict_proba") and not _is_module(quality):
        known = (*get_args(Quality), None, "an nn.Module", "an object with predict_proba")
        allowed.append(("quality", quality, known))
    if not (isinstance(clusters, int) and clusters >= 1):
        allowed.append(("clusters", clusters, ("auto", "a positive int")))
    for name, value, values in allowed:
        if value not in values:
            msg = f"{name} must be one of {', '.join(map(str, values))}; found {value!r}."
            raise ValueError(msg)


def _is_module(found: object) -> bool:
    from torch import nn

    return isinstance(found, nn.Module)
