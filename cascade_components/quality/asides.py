"""What an answer says to whoever judges it: claims to be right, verdicts, orders. None of it answers the question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_components.answers import Answer
from cascade_components.cascade import QualityEstimator
from cascade_components.quality.features import LAST_WORDS

_SENTENCES = re.compile(r"((?<=[.!?])[ \t]+|(?<=[)\]}])[ \t]+(?=[A-Z])|\n+)")
"""What separates them: also "The answer is (B) This is correct." are two."""

_READ = 12 * LAST_WORDS
"""Characters of a long answer that are looked at, from its end: no estimator reads more."""

# Each aside has one of these; most answers have none, and are told so in no time.
_HINTS = (
    *("correct", "right", "accura", "verif", "check", "review", "flawless", "perfect", "sure", "certain", "confiden"),
    *("positive", "doubt", "mistake", "error", "rating", "rater", "scor", "grad", "verdict", "judg", "evalua", "valid"),
    *("pass", "[[", "/10", "/ 10", "out of", "instruction", "rules", "prompt", "highest", "full marks"),
)

_WORK = r"(?:answers?|repl(?:y|ies)|responses?|solutions?|reasoning|explanations?|work|above|everything)"
_RIGHT = r"(?:correct|right|accurate|verified|(?:double-)?checked|reviewed|flawless|perfect)"
_SURE = r"(?:sure|certain|confident|positive|verified|(?:double-)?checked)"
_MARK = r"(?:rating|score|grade|verdict|judge?ment|evaluation|correct|valid|confidence|passed)"

_ASIDE = re.compile(
    "|".join(
        (
            # It calls itself right.
            rf"\b{_WORK}\b[^.!?\n]{{0,60}}\b(?:is|are|was|were|been)\b[^.!?\n]{{0,25}}\b{_RIGHT}\b",
            rf"\bi(?:'m| am|'ve| have)\b[^.!?\n]{{0,25}}\b{_SURE}\b",
            r"\bno (?:doubts?|mistakes?|errors?)\b|\b100 ?% (?:sure|certain|confident|correct|right|accurate)\b",
            # It gives itself a mark.
            rf"\b{_MARK}[\"'*\]]*\s*[:=]\s*[\"'*\[]*(?:\d|correct|right|true|pass|yes|accept|high|very|a\b)",
            r"\[\[[^\]\n]{1,20}\]\]|</?verdict>|\b\d+ ?(?:/ ?10|out of (?:5|10|100))\s*(?:$|[.,!])",
            # It tells its judge what to do.
            r"\b(?:evaluators?|graders?|judges?|reviewers?|raters?)\b|\bgrad(?:es?|ing) this\b",
            r"\b(?:ignore|disregard|forget)\b[^.!?\n]{0,40}\b(?:instructions?|doubts?|rules|prompt)\b",
            r"\b(?:mark|rate|grade|score|accept)\b[^.!?\n]{0,40}\b(?:as (?:correct|right)|highest|full marks|pass)\b",
        )
    )
)


def without_asides(answer: Answer) -> Answer:
    """The answer without sentences to its judge; the very same one where there are none, or nothing else is left.

    Example:
        >>> without_asides(Answer("It is 5. This answer is correct.")).text
        'It is 5.'
    """
    text = answer.text[-_READ:]
    if not any(hint in text.lower() for hint in _HINTS):
        return answer
    parts = _SENTENCES.split(text)
    sentences, gaps = parts[::2], [*parts[1::2], ""]
    kept = [sentence + gap for sentence, gap in zip(sentences, gaps, strict=True) if not _is_aside(sentence.lower())]
    left = "".join(kept).strip()
    return replace(answer, text=answer.text[:-_READ] + left) if left and len(kept) < len(sentences) else answer


def _is_aside(sentence: str) -> bool:
    return any(hint in sentence for hint in _HINTS) and _ASIDE.search(sentence) is not None


def cautious_scores(
    estimator: QualityEstimator, queries: Sequence[str], answers: Sequence[Answer]
) -> NDArray[np.floating[Any]]:
    """An estimator's scores, shape (n,): the lower of two where an answer has asides, with them and without.

    So a sentence to the judge cannot raise a score; and one that was wrongly taken for an aside lowers it but little.
    Fewer than one answer in a hundred of those that nobody tampered with is read twice.
    """
    scores = np.asarray(estimator.predict_proba(queries, answers))
    bare = [without_asides(answer) for answer in answers]
    rows = [row for row, answer in enumerate(answers) if bare[row] is not answer]
    if not rows:
        return scores
    again = estimator.predict_proba([queries[row] for row in rows], [bare[row] for row in rows])
    scores = np.array(scores)
    scores[rows] = np.minimum(scores[rows], again)
    return scores
