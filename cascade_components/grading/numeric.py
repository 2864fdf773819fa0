"""Numbers, fractions and formulas, read and compared by math-verify."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from cascade_components.grading.grader import Needs, UngradableError
from cascade_components.grading.question import Question

_PATIENCE_S = 5


@dataclass(frozen=True)
class Numeric:
    r"""The last number or formula of the answer equals that of a right one: 0.5 is 1/2, and 1,000 is 10³.

    Raises:
        ImportError: math-verify is missing.

    Example:
        >>> Numeric()(Question("q", "Half of a half?", ("0.25",)), r"It is $\frac{1}{4}$.")
        True
    """

    name: ClassVar[str] = "numeric"
    needs: ClassVar[Needs] = "answer"

    def __post_init__(self) -> None:
        _library()

    def __call__(self, question: Question, output: str) -> bool:
        """Whether the numbers agree.

        Raises:
            UngradableError: No right answer has a number in it.
        """
        right = [found for answer in question.answers if (found := _read(answer))]
        if not right:
            msg = f"there is no number in {question.answers[0]!r:.60}" if question.answers else "there is no answer"
            raise UngradableError(msg)
        given = _read(output)
        # math-verify stops what takes too long by a signal, which only the main thread can take.
        return bool(given) and any(_library().verify(gold, given, timeout_seconds=_patience()) for gold in right)


@lru_cache(maxsize=4096)
def _read(text: str) -> list[Any]:
    found: list[Any] = _library().parse(text, parsing_timeout=_patience())
    return found


def _patience() -> int | None:
    return _PATIENCE_S if threading.current_thread() is threading.main_thread() else None


def _library() -> Any:
    try:
        import math_verify
    except ImportError:
        msg = 'The grader "numeric" needs math-verify: pip install "cascade-components[capture]"'
        raise ImportError(msg) from None
    for name in ("math_verify.parser", "math_verify.grader"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a formula that cannot be read is a wrong answer, no news
    return math_verify
