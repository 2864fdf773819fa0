"""One model's answer, as a quality estimator reads it."""

from __future__ import annotations

from collections.abc import Mapping
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
