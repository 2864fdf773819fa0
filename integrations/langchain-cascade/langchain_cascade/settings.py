"""What one call may ask of the cascade, under `configurable` in its config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from langchain_core.runnables import RunnableConfig

TARGETS = ("budget", "retention", "cost_weight")
_ALLOWED = (*TARGETS, "model", "escalate")


@dataclass(frozen=True)
class Settings:
    """One call's own wishes."""

    target: tuple[Literal["budget", "retention", "cost_weight"], float] | None = None
    """Another operating point of the policy, for this call."""
    model: str | None = None
    """The member of the pool that is asked by name."""
    escalate: bool = True


def take_settings(config: RunnableConfig) -> tuple[Settings, RunnableConfig]:
    """Take the cascade's settings out of a config; what is left is what the wrapped models see.

    Raises:
        ValueError: A setting is unknown, or there is more than one operating point.
    """
    configurable = dict(config.get("configurable") or {})
    given = configurable.pop("cascade", None)
    rest = cast("RunnableConfig", {**config, "configurable": configurable})
    if given is None:
        return Settings(), rest
    if not isinstance(given, Mapping) or (unknown := sorted(set(given) - set(_ALLOWED))):
        found = f"unknown: {', '.join(unknown)}" if isinstance(given, Mapping) else f"found {given!r}"
        msg = f'config["configurable"]["cascade"] is a dictionary of {", ".join(_ALLOWED)}; {found}.'
        raise ValueError(msg)
    return _settings(given), rest


def _settings(given: Mapping[str, Any]) -> Settings:
    targets = [(name, given[name]) for name in TARGETS if given.get(name) is not None]
    if len(targets) > 1:
        names = " and ".join(name for name, _ in targets)
        msg = f"A call has one operating point: found {names}; give one of {', '.join(TARGETS)}."
        raise ValueError(msg)
    target = cast("Any", targets[0]) if targets else None
    escalate = given.get("escalate")
    return Settings(target, given.get("model"), escalate is None or bool(escalate))
