"""Graders that compare words: exact match, contains, regular expression."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import ClassVar

from cascade_components.grading.grader import Needs, UngradableError
from cascade_components.grading.question import Question


@dataclass(frozen=True)
class Exact:
    """The answer is one of the right ones; case, punctuation at the ends and white space don't count.

    Example:
        >>> Exact()(Question("q", "Capital of Poland?", ("Warsaw",)), "warsaw.")
        True
    """

    name: ClassVar[str] = "exact"
    needs: ClassVar[Needs] = "answer"

    def __call__(self, question: Question, output: str) -> bool:
        """Whether the output is a right answer."""
        return plain(output) in {plain(answer) for answer in question.answers}


@dataclass(frozen=True)
class Contains:
    """The answer has one of the right ones in it, as whole words; case doesn't count.

    Example:
        >>> grade = Contains()
        >>> grade(Question("q", "?", ("4",)), "It is 4, I think."), grade(Question("q", "?", ("4",)), "It is 42.")
        (True, False)
    """

    name: ClassVar[str] = "contains"
    needs: ClassVar[Needs] = "answer"

    def __call__(self, question: Question, output: str) -> bool:
        """Whether a right answer is in the output."""
        text = plain(output)
        return any(re.search(rf"(?<!\w){re.escape(plain(answer))}(?!\w)", text) for answer in question.answers)


@dataclass(frozen=True)
class Regex:
    """A pattern is found in the answer; what its first group finds, where it has one, must be a right answer.

    Args:
        pattern: A regular expression of Python's. None: each question's answer is one.

    Raises:
        ValueError: It is none.

    Example:
        >>> Regex(r"Answer: (.+)")(Question("q", "Capital of Poland?", ("Warsaw",)), "Let me see. Answer: Warsaw")
        True
    """

    pattern: str | None = None
    _compiled: re.Pattern[str] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self.pattern is not None:
            object.__setattr__(self, "_compiled", compiled(self.pattern))

    @property
    def name(self) -> str:
        """The kind and its pattern."""
        return "regex" if self.pattern is None else f"regex:{self.pattern}"

    @property
    def needs(self) -> Needs:
        """An answer, unless the pattern says it all."""
        return "answer" if self._compiled is None or self._compiled.groups else "nothing"

    def __call__(self, question: Question, output: str) -> bool:
        """Whether the pattern finds a right answer."""
        if self._compiled is None:
            try:
                return any(compiled(answer).search(output) for answer in question.answers)
            except ValueError as error:
                raise UngradableError(error) from None
        if not self._compiled.groups:
            return self._compiled.search(output) is not None
        found = self._last(output)
        # A reference may be a whole answer, too: that of the strongest model.
        right = {plain(answer if (group := self._last(answer)) is None else group) for answer in question.answers}
        return found is not None and plain(found) in right

    def _last(self, text: str) -> str | None:
        found = list(self._compiled.finditer(text)) if self._compiled else []
        return found[-1].group(1) if found else None


def compiled(pattern: str) -> re.Pattern[str]:
    """A regular expression, made.

    Raises:
        ValueError: It is none.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        msg = f"{pattern!r:.80} is no regular expression: {error}."
        raise ValueError(msg) from None


def plain(text: str) -> str:
    """Lower case, one space between words, no punctuation at the ends.

    Example:
        >>> plain(' "New  York". ')
        'new york'
    """
    words = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    stripped = words.strip(" .,;:!?\"'`*“”‘’")
    return stripped or words
