"""What a token costs: read off the outcomes, so that no price table is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cascade_components.outcomes import Outcome


@dataclass(frozen=True)
class TokenPrice:
    """USD per token, as the outcomes imply it."""

    input: float
    output: float

    def cost_usd(self, input_tokens: int, output_tokens: int) -> float:
        """Cost of one call in USD.

        Example:
            >>> TokenPrice(input=1e-6, output=2e-6).cost_usd(1000, 500)
            0.002
        """
        return self.input * input_tokens + self.output * output_tokens


def token_price(rows: Iterable[Outcome]) -> TokenPrice | None:
    """The non-negative price per input and output token that explains one model's costs best (least squares).

    Exact where the provider charges by the token. None where no row has both cost and tokens.

    Example:
        >>> row = Outcome(query_id="q", query="?", model="m", correct=1, cost_usd=3e-6, input_tokens=1, output_tokens=1)
        >>> round(token_price([row]).cost_usd(1, 1), 9)
        3e-06
    """
    from scipy.optimize import nnls

    measured = [
        (row.input_tokens, row.output_tokens, row.cost_usd)
        for row in rows
        if row.input_tokens is not None and row.output_tokens is not None and row.cost_usd is not None
    ]
    if not measured:
        return None
    table = np.array(measured, float)
    scale = max(float(table[:, 2].max()), 1e-300)  # prices are tiny: solved in units of the dearest call
    per_token, _ = nnls(table[:, :2], table[:, 2] / scale)
    return TokenPrice(float(per_token[0] * scale), float(per_token[1] * scale))
