"""JSON as the standard has it: no NaN, no key twice, no number that a computer cannot hold."""

from __future__ import annotations

import json
import math
from typing import Any

LONGEST_INTEGER = 40
"""Digits."""


def parse_object(text: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Args:
        text: UTF-8.

    Raises:
        ValueError: It is none; the message says why.

    Example:
        >>> parse_object(b'{"a": 1}')
        {'a': 1}
        >>> parse_object(b'{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ...
        ValueError: the key 'a' is there twice
    """
    try:
        found = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
        canonical(found)
    except RecursionError:
        msg = "it is nested too deeply"
        raise ValueError(msg) from None
    if not isinstance(found, dict):
        msg = f"it must be an object, found {type(found).__name__}"
        raise ValueError(msg)
    return found


def canonical(data: Any) -> bytes:
    """The one spelling of JSON data, whatever the order of its keys.

    Raises:
        ValueError: It holds NaN or infinity, or half a character (a lone surrogate).
    """
    return json.dumps(data, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        msg = f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice"
        raise ValueError(msg)
    return found


def _constant(name: str) -> None:
    msg = f"{name} is no number of JSON"
    raise ValueError(msg)


def _float(text: str) -> float:
    if not math.isfinite(value := float(text)):
        msg = f"the number {text[:LONGEST_INTEGER]} is too large"
        raise ValueError(msg)
    return value


def _int(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        msg = f"the number {text[:LONGEST_INTEGER]}… is too large"
        raise ValueError(msg)
    return int(text)
