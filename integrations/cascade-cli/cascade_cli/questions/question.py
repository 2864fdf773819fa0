"""A question with its right answer, and the exact graders."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "word", "text", "json"]

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Question:
    """One question and what a right answer is.

    `kind` says how it is graded: "number" by the last number, "word" by the one candidate that is named, "text" by
    the exact string, "json" by the fields of the first JSON object.
    """

    id: str
    family: str
    text: str
    answer: str
    kind: Kind
    accepted: tuple[str, ...] = ()
    """Other right words."""
    wrong: tuple[str, ...] = ()
    """Words that rule an answer out when named: the other candidates."""


def grade(question: Question, output: str) -> bool:
    """Whether a model's answer is right.

    Example:
        >>> question = Question("q", "capitals", "Capital of France?", "Paris", "word", wrong=("Lyon",))
        >>> grade(question, "The capital is Paris."), grade(question, "Paris or Lyon.")
        (True, False)
    """
    return _GRADERS[question.kind](question, output)


def _number(question: Question, output: str) -> bool:
    """The first line's last number: small models go on with examples of their own."""
    lines = [line for line in output.splitlines() if _NUMBER.search(line)]
    if not lines:
        return False
    found = _NUMBER.findall(lines[0] if len(lines[0].split()) < 8 else output)
    return float(found[-1].replace(",", "")) == float(question.answer)


def _word(question: Question, output: str) -> bool:
    words = f" {_plain(output)} "
    if len(question.answer) == 1:  # "a" is also an article: the letter must come last
        return words.endswith(f" {_plain(question.answer)} ")
    right = any(f" {_plain(word)} " in words for word in (question.answer, *question.accepted))
    return right and not any(f" {_plain(word)} " in words for word in question.wrong)


def _plain(text: str) -> str:
    """Lower-case words without accents or punctuation: Bogotá is Bogota."""
    text = unicodedata.normalize("NFKD", text.replace("’", "'")).encode("ascii", "ignore").decode()
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower()))


def _text(question: Question, output: str) -> bool:
    """The exact string, and nothing else that the message holds."""
    found = output.lower()
    return question.answer.lower() in found and not any(other.lower() in found for other in question.wrong)


def _json(question: Question, output: str) -> bool:
    start = output.find("{")
    if start < 0:
        return False
    try:
        found, _ = json.JSONDecoder().raw_decode(output[start:])
    except json.JSONDecodeError:
        return False
    expected = json.loads(question.answer)
    return set(found) == set(expected) and all(
        str(found[key]).strip().lower() == str(value).lower() for key, value in expected.items()
    )


_GRADERS = {"number": _number, "word": _word, "text": _text, "json": _json}
