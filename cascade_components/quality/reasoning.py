"""Reasoning blocks, and characters that nobody sees: what stands in an answer and is not part of what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MARK = re.compile(r"(?P<begins><think>|<thinking>|<\|channel>)|</think>|</thinking>|<channel\|>")
_UNSEEN = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]")


def spoken(text: str) -> str:
    """What the text says: without its reasoning blocks, and without characters that nobody sees.

    Where a block ends that never began, everything before is taken for reasoning: some models' prompts open the block.

    Example:
        >>> spoken("<think>2 + 2 …</think> It is 4."), spoken("2 + 2 …</think> It is 4.")
        (' It is 4.', ' It is 4.')
    """
    if not text.isascii():
        text = _UNSEEN.sub("", text)
    said: list[str] = []
    at, within = 0, True
    for start, end, stray in _marked(text):
        said += [text[at:start], " " if stray else ""]
        at = end
        if stray and within:
            said, within = [], False
    return "".join([*said, text[at:]])


def starts_within(text: str) -> bool:
    """Whether the text ends a reasoning block that it never began.

    Example:
        >>> starts_within("2 + 2 …</think> It is 4."), starts_within("<think>2 + 2 …</think> It is 4.")
        (True, False)
    """
    return any(stray for _, _, stray in _marked(text))


def without_stray_ends(text: str) -> str:
    """The text with every end of a block that never began blotted out, so that it hides nothing.

    Example:
        >>> without_stray_ends("It is 5.</think> It is 4.")
        'It is 5.  It is 4.'
    """
    kept, at = [], 0
    for start, end, stray in _marked(text):
        kept.append(f"{text[at:start]} " if stray else text[at:end])
        at = end
    return "".join([*kept, text[at:]])


def _marked(text: str) -> Iterator[tuple[int, int, bool]]:
    """Where each reasoning block stands, and (True) each end of a block that never began."""
    begun: int | None = None
    for mark in _MARK.finditer(text):
        if mark["begins"]:
            begun = mark.start() if begun is None else begun
        else:
            yield (mark.start() if begun is None else begun), mark.end(), begun is None
            begun = None
