"""What the shape of an answer tells about it: length, truncation, repetition, hedging, the model's own confidence."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from cascade_components.answers import Answer
from cascade_components.arrays import Floats
from cascade_components.quality.reasoning import spoken

FEATURES = (
    # of the query
    "query_words",
    "query_lines",
    "query_digits",
    "query_symbols",
    "query_capitals",
    # of the answer: how long it is, and how it ends
    "answer_words",
    "output_tokens",
    "lines",
    "words_in_sentence",
    "letters_in_word",
    "longer_than_query",
    "ends_whole",
    "truncated",
    "empty",
    # what it is made of
    "digits",
    "symbols",
    "capitals",
    "backslashes",
    "equations",
    "numbers",
    "final_number",
    "final_decimal",
    "parses",
    "broken_json",
    "states_answer",
    # how it goes on
    "repetition",
    "compressed",
    "copied",
    "copied_numbers",
    "new_words",
    "hedges",
    "corrections",
    # what the model thought of it
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
_SENTENCE_END = re.compile(r"[.!?\n]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_HEDGE = re.compile(
    r"\b(?:maybe|perhaps|possibly|probably|likely|unclear|uncertain|unsure|not sure|approximately|assum\w+|might"
    r"|could be|seems?|appears?|i (?:think|believe|guess)|cannot|can't|unable|sorry|insufficient|not enough"
    r"|ambiguous|none of)\b",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"\b(?:wait|however|actually|mistakes?|corrections?|re-?check|let me|incorrect|errors?|instead|but)\b",
    re.IGNORECASE,
)
_STATES_ANSWER = re.compile(r"answer is|\\boxed|[\"']answer[\"']|final answer|answer:", re.IGNORECASE)


def readable_text(answer: Answer) -> str:
    """The answer's last 1,000 words, without its reasoning block and without characters that nobody sees.

    Example:
        >>> readable_text(Answer("<think>2 + 2 …</think> It is 4."))
        'It is 4.'
    """
    return " ".join(spoken(answer.text).split()[-LAST_WORDS:])


def answer_features(queries: Sequence[str], answers: Sequence[Answer]) -> Floats:
    """One row per pair, one column per name in `FEATURES`; NaN where the answer doesn't carry what it takes.

    Example:
        >>> answer_features(["2 + 2?"], [Answer("4")]).shape == (1, len(FEATURES))
        True
    """
    known = _remembered.get()
    if known is None:
        return np.array([_row(query, answer) for query, answer in zip(queries, answers, strict=True)], float)
    keys = [(query, id(answer)) for query, answer in zip(queries, answers, strict=True)]
    for key, answer in zip(keys, answers, strict=True):
        if key not in known:
            known[key] = np.array(_row(key[0], answer)), answer  # a list of floats takes four times the memory
    return np.array([known[key][0] for key in keys], float)


_remembered: ContextVar[dict[tuple[str, int], tuple[Floats, Answer]] | None] = ContextVar("remembered", default=None)


@contextmanager
def features_remembered() -> Iterator[None]:
    """Within it the features of an answer are worked out once, however often it is read: fitting reads it many times.

    An answer is known by its identity (which holds while it is remembered), for to compare long texts takes longer.
    """
    token = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(token)


def _row(query: str, answer: Answer) -> list[float]:
    # Line breaks tell about the form, so the words are cut from the text as it stands.
    text = spoken(answer.text).strip()
    text = text[-12 * LAST_WORDS :]
    words = _WORD.findall(text.lower())
    asked = set(_WORD.findall(query.lower()))
    new = [word for word in words if word not in asked]
    return [
        *_of_query(query),
        math.log1p(len(words)),
        math.nan if answer.output_tokens is None else math.log1p(answer.output_tokens),
        math.log1p(text.count("\n")),
        *_rhythm(text, words),
        math.log1p(len(text)) - math.log1p(len(query)),
        float(text.endswith((".", "!", "?", "}", "]", ")", '"', "`", "$"))),
        float(answer.finish_reason in ("length", "max_tokens")),
        float(not words),
        *_makeup(text),
        1 - len(set(words)) / max(1, len(words)),
        len(zlib.compress(text.encode(), 1)) / max(1, len(text)),
        1 - len(new) / max(1, len(words)),
        _copied_numbers(query, text),
        math.log1p(len(new)),
        math.log1p(len(_HEDGE.findall(text))),
        math.log1p(len(_CORRECTION.findall(text))),
        *_confidence(answer.token_logprobs),
        *_confidence(answer.token_margins)[:2],
    ]


def _of_query(query: str) -> list[float]:
    return [
        math.log1p(len(query.split())),
        math.log1p(query.count("\n")),
        *_shares(query),
    ]


def _rhythm(text: str, words: Sequence[str]) -> list[float]:
    sentences = sum(bool(part.strip()) for part in _SENTENCE_END.split(text))
    return [math.log1p(len(words) / max(1, sentences)), sum(map(len, words)) / max(1, len(words))]


def _makeup(text: str) -> list[float]:
    numbers = _NUMBER.findall(text)
    final = numbers[-1] if numbers else ""
    parses, looks_json = _is_json(text), text[:1] in ("{", "[")
    return [
        *_shares(text),
        math.log1p(text.count("\\")),
        math.log1p(text.count("=")),
        math.log1p(len(numbers)),
        math.log1p(min(1e9, float(final[:12]))) if final else 0.0,
        float("." in final),
        float(parses),
        float(looks_json and not parses),
        float(bool(_STATES_ANSWER.search(text))),
    ]


def _copied_numbers(query: str, text: str) -> float:
    """Share of the answer's numbers that stand in the query."""
    numbers = set(_NUMBER.findall(text))
    return len(numbers & set(_NUMBER.findall(query))) / max(1, len(numbers))


def _is_json(text: str) -> bool:
    if text[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _shares(text: str) -> list[float]:
    """Of digits, of symbols and of capitals among the characters."""
    length = max(1, len(text))
    symbols = len(text) - sum(map(str.isalnum, text)) - sum(map(str.isspace, text))
    return [sum(map(str.isdigit, text)) / length, symbols / length, sum(map(str.isupper, text)) / length]


def _confidence(values: Sequence[float] | None) -> tuple[float, float, float]:
    """Mean, minimum and first of the tokens' values."""
    if not values:
        return math.nan, math.nan, math.nan
    return sum(values) / len(values), min(values), values[0]
