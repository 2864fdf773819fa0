"""What an escalated answer costs: both passes, under the chosen metric.

USD and E2EL add up. For TPOT the discarded tokens cost time and earn no tokens (arXiv 2606.27457):
TPOT = (TPOT₁·(n₁−1) + TPOT₂·(n₂−1)) / max(1, n₂−1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cascade_components.arrays import Floats


def pass_shares(metric: str, start_tokens: ArrayLike, target_tokens: ArrayLike) -> tuple[Floats, Floats]:
    """How much each pass counts in the composed cost: `cost = first · start + second · target`.

    Args:
        metric: `cost_usd`, `e2el_ms` or `tpot_ms`.
        start_tokens: Output tokens of the rejected answer; NaN: taken as long as the other.
        target_tokens: Output tokens of the answer that replaced it, broadcastable to the first.

    Returns:
        Two arrays of the broadcast shape; both are 1 for metrics that add up.

    Example:
        >>> pass_shares("cost_usd", 10, 20)
        (array(1.), array(1.))
        >>> [float(share) for share in pass_shares("tpot_ms", 11, 21)]
        [0.5, 1.0]
    """
    first, second = np.broadcast_arrays(np.asarray(start_tokens, float), np.asarray(target_tokens, float))
    if metric != "tpot_ms":
        return np.ones(first.shape), np.ones(first.shape)
    steps = np.maximum(1.0, second - 1)
    unknown = np.isnan(first) | np.isnan(second)
    return np.where(unknown, 1.0, (first - 1) / steps), np.where(unknown, 1.0, (second - 1) / steps)


def escalated_cost(
    metric: str, start_cost: ArrayLike, target_cost: ArrayLike, start_tokens: ArrayLike, target_tokens: ArrayLike
) -> Floats:
    """Cost of an answer that was rejected and asked again (see `pass_shares`).

    Example:
        >>> float(escalated_cost("e2el_ms", 100, 300, 10, 20))
        400.0
    """
    first, second = pass_shares(metric, start_tokens, target_tokens)
    return np.asarray(first * np.asarray(start_cost, float) + second * np.asarray(target_cost, float))
