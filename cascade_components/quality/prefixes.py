"""Prefixes of an answer: what can be read of it while it still grows. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice

from cascade_components.answers import Answer

CHECKPOINTS: tuple[int, ...] = (4, 8, 16, 32)
"""Numbers of words, after the reasoning block, at which a prefix is read.

Longer ones tell hardly more of an answer that is still unfinished, take as long to encode as whole answers, and leave
less waiting to be saved.
"""

_BLOCK = re.compile(r"<think>|<thinking>|<\|channel>|(?P<end></think>|</thinking>|<channel\|>)")
_WORD = re.compile(r"\S+")


def checkpoint(text: str) -> int | None:
    """The largest checkpoint that an answer so far has reached.

    None before the first, and while a reasoning block is open: nothing readable is there yet. Words are what stands
    between blanks, so a text in a script that sets none reaches no checkpoint.

    Example:
        >>> checkpoint("<think>2 + 2 …</think> The answer is four, because")
        4
    """
    count = len(_word_ends(text, CHECKPOINTS[-1]))
    return max((words for words in CHECKPOINTS if words <= count), default=None)


def prefix(answer: Answer, words: int) -> Answer | None:
    """The answer as it stood when its text had this many words; None where it never had.

    The values of its tokens are cut in proportion. A stream tells how many tokens it holds, and why it ended, only
    at its end: `output_tokens` and `finish_reason` are unknown.

    Example:
        >>> prefix(Answer("It is four, because 2 + 2 is.", finish_reason="stop"), 4)
        Answer(text='It is four, because', model='', output_tokens=None, token_logprobs=None, token_margins=None, \
finish_reason=None, tool_calls=())
    """
    ends = _word_ends(answer.text, words)
    if len(ends) < words:
        return None
    share = ends[-1] / len(answer.text)
    return replace(
        answer,
        text=answer.text[: ends[-1]],
        output_tokens=None,
        token_logprobs=_cut(answer.token_logprobs, share),
        token_margins=_cut(answer.token_margins, share),
        finish_reason=None,
        tool_calls=(),
    )


def misleads(text: str) -> bool:
    """Whether a reader of the growing answer takes something for the answer that turns out to stand before it.

    So it is with a reasoning block that ends without having begun, and with one in the middle.
    """
    return any(checkpoint(text[: block.start()]) for block in _BLOCK.finditer(text))


def _word_ends(text: str, most: int) -> list[int]:
    """Where each of the first readable words ends."""
    start = 0
    for block in _BLOCK.finditer(text):
        start = block.end() if block["end"] else len(text)
    return [word.end() for word in islice(_WORD.finditer(text, start), most)]


def _cut(values: tuple[float, ...] | None, share: float) -> tuple[float, ...] | None:
    return None if values is None else values[: round(share * len(values))]
