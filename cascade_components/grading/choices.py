"""Multiple choice: which option an answer names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_uppercase
from typing import ClassVar

from cascade_components.grading.grader import Needs, UngradableError
from cascade_components.grading.question import Question
from cascade_components.grading.wording import plain

_LETTER = r"[\(\[\*`\"' ]*(?:\\boxed\{)?(?:\\text\{)?\(?([A-Za-z])(?![\w'’])"
_SAID = (
    re.compile(r"(?:answer|choice|option)(?:\s+(?:is|would be|must be))?\s*[:=]?" + _LETTER, re.IGNORECASE),
    re.compile(r"\\boxed\{(?:\\text\{)?\(?([A-Za-z])(?![\w'’])"),
    re.compile(r"^[\(\[\*`\"' ]*([A-Za-z])(?:[\)\]\*`\"']*\s*$|[\)\]\.:\*])"),
    re.compile(r"[\(\*]([A-Z])[\)\*]"),
    re.compile(r"(?:^|\n)\s*([A-Z])\s*\.?\s*$"),
)
"""Ways to name an option, the surest first; of several places the last counts."""


@dataclass(frozen=True)
class Choice:
    """The answer names the right option: by its letter, or, where the question has `choices`, by its text.

    A right answer is given as the letter, as the option's number (from 0) or as its text.

    Example:
        >>> question = Question("q", "Capital of Poland? (A) Berlin (B) Warsaw", ("B",), choices=("Berlin", "Warsaw"))
        >>> Choice()(question, "The answer is (B)."), Choice()(question, "It is Warsaw.")
        (True, True)
    """

    name: ClassVar[str] = "choice"
    needs: ClassVar[Needs] = "answer"

    def __call__(self, question: Question, output: str) -> bool:
        """Whether the right option is named.

        Raises:
            UngradableError: No right answer names an option.
        """
        right = {letter for answer in question.answers if (letter := _right(answer, question.choices))}
        if not right:
            msg = f"{', '.join(question.answers)!r:.60} names no option"
            raise UngradableError(msg)
        return named(output, question.choices) in right


def named(text: str, choices: tuple[str, ...] = ()) -> str | None:
    """The letter of the option that a text names; None: none, or several.

    Example:
        >>> named("Let me think. Answer: C"), named("I don't know.")
        ('C', None)
    """
    known = ascii_uppercase[: len(choices)] if choices else ascii_uppercase
    for pattern in _SAID:
        letters = [letter.upper() for letter in pattern.findall(text) if letter.upper() in known]
        if letters:
            return str(letters[-1])
    words = plain(text)
    told = [
        letter
        for letter, choice in zip(known, choices, strict=False)
        if re.search(rf"(?<!\w){re.escape(plain(choice))}(?!\w)", words)
    ]
    return told[0] if len(told) == 1 else None


def _right(answer: str, choices: tuple[str, ...]) -> str | None:
    same = [letter for letter, choice in zip(ascii_uppercase, choices, strict=False) if plain(choice) == plain(answer)]
    if same:
        return same[0]
    if choices and answer.strip().isdecimal() and int(answer) < len(choices):
        return ascii_uppercase[int(answer)]
    return named(answer, choices)
