"""Graders by name, as a command line writes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from cascade_components.grading.grader import Grader

GRADERS = ("exact", "contains", "regex", "numeric", "choice", "json-schema", "semantic")
"""Names that `named_grader` knows; `module:function` is a grader of your own."""


def named_grader(name: str) -> Grader:
    """Make a grader.

    Args:
        name: `exact`, `contains`, `numeric`, `choice`; `regex` (each answer is a pattern) or `regex:PATTERN`;
            `json-schema` (each question has a schema) or `json-schema:FILE`; `semantic` or `semantic:THRESHOLD`;
            or `module:function`.

    Raises:
        FileNotFoundError: There is no such schema file.
        ImportError: A package is missing.
        ValueError: The name is unknown, or what follows it makes no sense.

    Example:
        >>> named_grader("semantic:0.9").name
        'semantic:0.9'
    """
    kind, _, setting = name.partition(":")
    if kind in GRADERS:
        if setting and kind not in _SETTINGS:
            msg = f"The grader {kind} takes no setting, found {name!r}."
            raise ValueError(msg)
        return _SETTINGS[kind](setting) if setting else _plain(kind)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", name):
        from cascade_components.grading.calling import Callback

        return Callback.load(name)
    msg = f"There is no grader {name!r}; there are {', '.join(GRADERS)}, judge:MODEL, and module:function of your own."
    raise ValueError(msg)


def _plain(kind: str) -> Grader:
    # Each kind loads what it needs, and no more.
    from cascade_components.grading.choices import Choice
    from cascade_components.grading.numeric import Numeric
    from cascade_components.grading.structure import JsonSchema
    from cascade_components.grading.wording import Contains, Exact, Regex

    if kind == "semantic":
        from cascade_components.grading.similarity import Semantic

        return Semantic()
    kinds: dict[str, Callable[[], Any]] = {
        "exact": Exact,
        "contains": Contains,
        "regex": Regex,
        "numeric": Numeric,
        "choice": Choice,
        "json-schema": JsonSchema,
    }
    made: Grader = kinds[kind]()
    return made


def _semantic(setting: str) -> Grader:
    from cascade_components.grading.similarity import Semantic

    try:
        least = float(setting)
    except ValueError:
        least = -1.0
    return Semantic(least)


def _regex(setting: str) -> Grader:
    from cascade_components.grading.wording import Regex

    return Regex(setting)


def _schema(setting: str) -> Grader:
    from cascade_components.grading.structure import JsonSchema

    return JsonSchema.read(setting)


_SETTINGS: dict[str, Callable[[str], Grader]] = {"semantic": _semantic, "regex": _regex, "json-schema": _schema}
