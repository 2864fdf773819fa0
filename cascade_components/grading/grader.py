"""What a grader is."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from cascade_components.grading.question import Question
from cascade_components.quality.reasoning import spoken

Needs = Literal["answer", "schema", "nothing"]
"""What a question must have to be graded."""


class UngradableError(ValueError):
    """An answer cannot be graded: not right, not wrong. The text says why."""


class Grader(Protocol):
    """Says what an answer is worth."""

    @property
    def name(self) -> str:
        """Kind and settings."""
        ...

    @property
    def needs(self) -> Needs:
        """What a question must have."""
        ...

    def __call__(self, question: Question, output: str, /) -> float | bool:
        """What the output is worth: 0…1, or whether it is right.

        Raises:
            UngradableError: It cannot be said.
        """
        ...


def worth(grader: Grader, question: Question, output: str) -> float:
    """What an answer is worth: the grader's word, checked; the reasoning block is not graded.

    Raises:
        UngradableError: The grader cannot say.
        ValueError: It says something else than 0…1.

    Example:
        >>> from cascade_components.grading import named_grader
        >>> worth(named_grader("exact"), Question("q", "2 + 2?", ("4",)), "<think>2 and 2 …</think>4.")
        1.0
    """
    found: Any = grader(question, final_text(output))
    try:
        value = float(found)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= 1:
        msg = f"{grader.name} says {found!r:.80} of the answer to {question.id!r}; it must say 0…1, or True or False."
        raise ValueError(msg)
    return value


def final_text(output: str) -> str:
    """The output without its reasoning blocks, and without white space around."""
    return spoken(output).strip()
