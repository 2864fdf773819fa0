"""Meaning: how near an answer is to a right one, by a sentence encoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cascade_components.encoders import CachedEncoder, Encoder, SentenceTransformerEncoder
from cascade_components.grading.grader import Needs
from cascade_components.grading.question import Question

LEAST = 0.8
"""Cosine from which on two texts count as saying the same."""


@dataclass(frozen=True)
class Semantic:
    """The answer means about the same as a right one: the cosine of their vectors reaches a threshold.

    It tells topics apart better than facts: "in 1912" and "in 1913" are near each other. Look at a few grades.

    Args:
        least: The threshold.
        encoder: Text → vectors; None: the default encoder.

    Raises:
        ValueError: The threshold is not within (0, 1].

    Example:
        >>> Semantic(0.9, lambda texts: [[1.0, len(text)] for text in texts])(Question("q", "?", ("yes",)), "yes")
        True
    """

    least: float = LEAST
    encoder: Encoder | None = None
    needs: ClassVar[Needs] = "answer"
    _encode: CachedEncoder = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.least <= 1:
            msg = f"semantic needs a threshold above 0 and up to 1, such as semantic:0.8; found {self.least}."
            raise ValueError(msg)
        object.__setattr__(self, "_encode", CachedEncoder(self.encoder or SentenceTransformerEncoder()))

    @property
    def name(self) -> str:
        """The kind and its threshold."""
        return f"semantic:{self.least:g}"

    def __call__(self, question: Question, output: str) -> bool:
        """Whether the output is near a right answer."""
        import numpy as np

        vectors = self._encode([output, *question.answers])
        lengths = np.linalg.norm(vectors, axis=1).clip(1e-12)
        cosines = vectors[1:] @ vectors[0] / (lengths[1:] * lengths[0])
        return bool(output) and float(cosines.max()) >= self.least - 1e-6
