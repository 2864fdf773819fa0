"""One model's answer, as a quality estimator reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's answer to one query.

    Only `text` is needed; whatever else is known makes the quality estimate better.

    Example:
        >>> answer = Answer("Paris.", model="small", output_tokens=3)
        >>> str(answer)
        'Paris.'
    """

    text: str
    model: str = ""
    """Name of the model in the pool."""
    output_tokens: int | None = None
    """Tokens generated, a reasoning block included."""
    token_logprobs: tuple[float, ...] | None = None
    """Natural log-probability of each generated token."""
    token_margins: tuple[float, ...] | None = None
    """Top-1 minus top-2 probability at each generated token, in [0, 1]."""
    finish_reason: str | None = None
    """Why generation ended: `stop`, `length`, `tool_calls`, `refusal`, …"""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    """Tool calls, each with `name` and `args`."""

    def __str__(self) -> str:
        return self.text

    @property
    def only_tool_calls(self) -> bool:
        """Whether there is nothing to read but tool calls: such an answer is judged by checks alone."""
        return bool(self.tool_calls) and not self.text.strip()


def token_margins(logprobs: Sequence[Sequence[float]]) -> tuple[float, ...] | None:
    """How far the likeliest token was ahead of the next, in probability; None unless each position names two.

    Args:
        logprobs: For each generated token, the log-probabilities of the likeliest ones.

    Example:
        >>> token_margins([[-0.1, -2.4], [-0.7, -0.7]])
        (0.8141, 0.0)
    """
    best = [sorted(position, reverse=True)[:2] for position in logprobs]
    if not best or any(len(pair) < 2 for pair in best):
        return None
    return tuple(round(math.exp(first) - math.exp(second), 4) for first, second in best)
