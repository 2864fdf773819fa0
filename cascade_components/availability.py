"""Which models can be asked now: those that can do what the call needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Needs:
    """What a call needs of a model."""

    features: frozenset[frozenset[str]] = frozenset()
    """Each is a set of alternatives, such as {"tool_calling"}: a model must have one of them."""
    prompt_tokens: int = 0


@dataclass(frozen=True)
class Capabilities:
    """What is known of a model; what is not known, it can do."""

    lacking: frozenset[str] = frozenset()
    """Features that it is known not to have."""
    max_input_tokens: int | None = None


def able_models(needs: Needs, pool: Mapping[str, Capabilities]) -> frozenset[str]:
    """The models that can do what a call needs.

    A prompt that is too long for all of them goes to those with the longest context: token counts are estimates, and
    the provider's own error is the better one.

    Raises:
        ValueError: No model has the features; the message names what each one lacks.

    Example:
        >>> pool = {"small": Capabilities(frozenset({"image_inputs"})), "large": Capabilities()}
        >>> able_models(Needs(frozenset({frozenset({"image_inputs"})})), pool)
        frozenset({'large'})
    """
    missing = {name: _missing(needs, found) for name, found in pool.items()}
    featured = {name: found for name, found in pool.items() if not missing[name]}
    if not featured:
        lacks = "; ".join(f"{name} has no {', no '.join(found)}" for name, found in missing.items())
        msg = f"No model of the pool can answer this call: {lacks}. Add a model that can, or correct its profile."
        raise ValueError(msg)
    windows = {name: found.max_input_tokens or float("inf") for name, found in featured.items()}
    enough = min(needs.prompt_tokens, max(windows.values()))
    return frozenset(name for name, window in windows.items() if window >= enough)


def _missing(needs: Needs, found: Capabilities) -> list[str]:
    return sorted(" or ".join(sorted(group)) for group in needs.features if group <= found.lacking)
