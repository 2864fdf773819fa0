"""A question to capture, and what a right answer to it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Question:
    """One question.

    Example:
        >>> Question("q1", "What is 2 + 2?", answers=("4", "four")).family is None
        True
    """

    id: str
    """Stands for the text; never changes."""
    text: str
    """What is routed; and what the models are asked, where there are no `messages`."""
    answers: tuple[str, ...] = ()
    """Right answers; one is enough. Empty: there is nothing to grade against."""
    choices: tuple[str, ...] = ()
    """Texts of the options, the first one being A."""
    schema: Mapping[str, Any] | None = None
    """JSON schema of a right answer."""
    task: str | None = None
    messages: tuple[Mapping[str, Any], ...] = ()
    """The conversation that the models are asked, in OpenAI's shape; `text` is its last human turn."""
    place: str = ""
    """Where it was read: the file and the line."""

    @property
    def family(self) -> str | None:
        """The task: what `capture` writes as an outcome's `task`."""
        return self.task
