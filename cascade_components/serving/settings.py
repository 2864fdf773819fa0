"""What one call may ask of the cascade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, cast

TARGETS = ("budget", "retention", "cost_weight")
_ALLOWED = (*TARGETS, "model", "escalate")


@dataclass(frozen=True)
class CallSettings:
    """One call's own wishes."""

    target: tuple[Literal["budget", "retention", "cost_weight"], float] | None = None
    """Another operating point of the policy, for this call."""
    model: str | None = None
    """The member of the pool that is asked by name."""
    escalate: bool = True

    @classmethod
    def read(cls, given: Any, where: str) -> CallSettings:
        """Read the wishes that a caller wrote down.

        Args:
            given: A dictionary, or None.
            where: What the caller calls the place, for error messages.

        Raises:
            ValueError: A setting is unknown, or there is more than one operating point.
        """
        if given is None:
            return cls()
        if not isinstance(given, Mapping) or (unknown := sorted(set(given) - set(_ALLOWED))):
            found = f"unknown: {', '.join(unknown)}" if isinstance(given, Mapping) else f"found {given!r}"
            msg = f"{where} is a dictionary of {', '.join(_ALLOWED)}; {found}."
            raise ValueError(msg)
        for name in (*TARGETS, "model"):
            wanted, what = (str, "a name") if name == "model" else (Real, "a number")
            if given.get(name) is not None and (not isinstance(given[name], wanted) or isinstance(given[name], bool)):
                msg = f"{where} {name} is {what}; found {given[name]!r}."
                raise ValueError(msg)
        targets = [(name, given[name]) for name in TARGETS if given.get(name) is not None]
        if len(targets) > 1:
            names = " and ".join(name for name, _ in targets)
            msg = f"A call has one operating point: found {names}; give one of {', '.join(TARGETS)}."
            raise ValueError(msg)
        escalate = given.get("escalate")
        target = cast("Any", targets[0]) if targets else None
        return cls(target, given.get("model"), escalate is None or bool(escalate))
