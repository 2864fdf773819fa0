"""What the shape of an answer tells about it: length, truncation, repetition, the model's own confidence."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from cascade_components.answers import Answer
from cascade_components.arrays import Floats

FEATURES = (
    "query_words",
    "answer_words",
    "output_tokens",
    "digits",
    "truncated",
    "empty",
    "repetition",
    "copied",
    "new_words",
    "mean_logprob",
    "min_logprob",
    "first_logprob",
    "mean_margin",
    "min_margin",
)
"""Names of the columns of `answer_features`."""

LAST_WORDS = 1000
"""How much of a long answer is read, from its end (arXiv 2606.27457)."""

_WORD = re.compile(r"[^\W_]+")
_REASONING = re.compile(r"^.*(?:</think>|</thinking>|<channel\|>)", re.DOTALL)


def readable_text(answer: Answer) -> str:
    """The answer's last 1,000 words, without its reasoning block.

    Example:
        >>> readable_text(Answer("<think>2 + 2 …</think> It is 4."))
        'It is 4.'
    """
    return " ".join(_REASONING.sub("", answer.text).split()[-LAST_WORDS:])


def answer_features(queries: Sequence[str], answers: Sequence[Answer]) -> Floats:
    """One row per pair, one column per name in `FEATURES`; NaN where the answer doesn't carry what it takes.

    Example:
        >>> answer_features(["2 + 2?"], [Answer("4")]).shape == (1, len(FEATURES))
        True
    """
    return np.array([_row(query, answer) for query, answer in zip(queries, answers, strict=True)], float)


def _row(query: str, answer: Answer) -> list[float]:
    text = readable_text(answer)
    words = _WORD.findall(text.lower())
    asked = set(_WORD.findall(query.lower()))
    new = [word for word in words if word not in asked]
    return [
        math.log1p(len(query.split())),
        math.log1p(len(words)),
        math.nan if answer.output_tokens is None else math.log1p(answer.output_tokens),
        sum(character.isdigit() for character in text) / max(1, len(text)),
        float(answer.finish_reason in ("length", "max_tokens")),
        float(not words),
        1 - len(set(words)) / max(1, len(words)),
        1 - len(new) / max(1, len(words)),
        math.log1p(len(new)),
        *_confidence(answer.token_logprobs),
        *_confidence(answer.token_margins)[:2],
    ]


def _confidence(values: Sequence[float] | None) -> tuple[float, float, float]:
    """Mean, minimum and first of the tokens' values."""
    if not values:
        return math.nan, math.nan, math.nan
    return sum(values) / len(values), min(values), values[0]
