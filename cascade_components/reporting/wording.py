"""Numbers as people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

UNKNOWN = "–"


def percent(value: float | None) -> str:
    """A share.

    Example:
        >>> percent(0.9758)
        '97.6%'
    """
    return UNKNOWN if value is None or math.isnan(value) else f"{value:.1%}"


def number(value: float | None) -> str:
    """Four digits that count, but no more than four after the point; never an exponent.

    Example:
        >>> number(1234.5), number(0.012345), number(3.0)
        ('1,234', '0.0123', '3.000')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    digits = 3 if value == 0 else min(max(3 - math.floor(math.log10(abs(value))), 0), 4)
    return f"{value:,.{digits}f}"


def cut(text: str, length: int = 220) -> str:
    """A text on one line, no longer than this.

    Example:
        >>> cut("one two three", 8)
        'one two…'
    """
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


@dataclass(frozen=True)
class Unit:
    """What costs are shown in.

    Example:
        >>> Unit.of("cost_usd", 0.0021).label
        'USD per 1,000 queries'
    """

    label: str
    factor: float = 1.0
    """From the metric's own unit."""
    sign: str = ""

    @classmethod
    def of(cls, metric: str, cost: float) -> Unit:
        """The unit in which a cost like this reads well."""
        if metric == "tpot_ms":
            return cls("ms per output token")
        if metric == "e2el_ms":
            return cls("ms per query, end to end")
        for per, most in (("query", 0.1), ("1,000 queries", 1e-4)):
            if cost >= most:
                return cls(f"USD per {per}", 1.0 if per == "query" else 1e3, "$")
        return cls("USD per million queries", 1e6, "$")

    def of_cost(self, cost: float) -> float:
        """A cost in this unit."""
        return self.factor * cost

    def text(self, cost: float | None) -> str:
        """A cost, without the unit's name."""
        found = number(None if cost is None else self.of_cost(cost))
        return found if found == UNKNOWN else f"{self.sign}{found}"
