"""What a token costs: read off the outcomes, so that no price table is needed, or given by the user."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np

from cascade_components.outcomes import Outcome


@dataclass(frozen=True)
class TokenPrice:
    """USD per token.

    Raises:
        ValueError: A price is negative or not finite.

    Example:
        >>> TokenPrice.per_million(input=0.15, output=0.60, cache_read=0.075).output
        6e-07
    """

    input: float
    output: float
    """A reasoning token is an output token."""
    cache_read: float | None = None
    """An input token that the provider had in its prompt cache; None: as any other."""
    cache_creation: float | None = None
    """An input token that the provider put into its prompt cache; None: as any other."""

    def __post_init__(self) -> None:
        for name, price in asdict(self).items():
            if price is not None and not (math.isfinite(price) and price >= 0):
                msg = f"The price of a token ({name}) must be a finite number of USD of at least 0, found {price}."
                raise ValueError(msg)

    @classmethod
    def per_million(
        cls,
        input: float,  # noqa: A002
        output: float,
        cache_read: float | None = None,
        cache_creation: float | None = None,
    ) -> Self:
        """Prices as providers list them: USD per million tokens."""
        prices = (input, output, cache_read, cache_creation)
        return cls(*(None if price is None else price / 1e6 for price in prices))  # type: ignore[arg-type]

    def cost_usd(self, input_tokens: int, output_tokens: int, *, cache_read: int = 0, cache_creation: int = 0) -> float:
        """Cost of one call in USD.

        Args:
            input_tokens: All of them, cached ones included.
            output_tokens: All of them, reasoning included.
            cache_read: Those of the input tokens that were read from the prompt cache.
            cache_creation: Those of the input tokens that were written to it.

        Example:
            >>> TokenPrice(input=1e-6, output=2e-6).cost_usd(1000, 500)
            0.002
        """
        read = self.input if self.cache_read is None else self.cache_read
        creation = self.input if self.cache_creation is None else self.cache_creation
        fresh = input_tokens - cache_read - cache_creation
        return self.input * fresh + read * cache_read + creation * cache_creation + self.output * output_tokens


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


def token_prices(rows: Iterable[Outcome]) -> dict[str, TokenPrice]:
    """The `token_price` of each model that has one."""
    rows_of: dict[str, list[Outcome]] = {}
    for row in rows:
        rows_of.setdefault(row.model, []).append(row)
    prices = {model: token_price(found) for model, found in sorted(rows_of.items())}
    return {model: price for model, price in prices.items() if price is not None}
