"""Packages whose names load when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def loaded_when_used(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of such a package.

    Args:
        package: Its name.
        homes: Name → the module within it that has it. Type checkers have to be told with imports of their own.

    Example:
        >>> __getattr__, __dir__ = loaded_when_used("cascade_components", {"fit": "fitting"})
        >>> __getattr__("fit").__module__
        'cascade_components.fitting'
    """

    def load(name: str) -> Any:
        if name not in homes:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)  # the next use finds it there
        return value

    def names() -> list[str]:
        return [*homes, *(name for name in vars(sys.modules[package]) if name.startswith("__"))]

    return load, names
