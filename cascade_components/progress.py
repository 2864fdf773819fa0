"""How far a phase of fitting is: a bar on a terminal, for what takes longer than a moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_MOMENT = 1.0
"""Seconds before a bar appears."""


def with_bar(items: Iterable[T], what: str, *, progress: bool, total: int | None = None) -> Iterator[T]:
    """The items, counted on a bar as they are taken.

    Args:
        items: What the phase goes through.
        what: What is done, as the bar says.
        progress: False: no bar. There is none without a terminal either.
        total: How many items there are, where they don't tell.
    """
    from tqdm import tqdm

    yield from tqdm(items, what, total, disable=None if progress else True, leave=False, delay=_MOMENT)
