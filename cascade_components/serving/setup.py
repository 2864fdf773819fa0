"""How a cascade serves: the same from call to call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cascade_components.pricing import TokenPrice
from cascade_components.serving.health import Health
from cascade_components.serving.resilience import Resilience
from cascade_components.serving.servable import ServablePolicy
from cascade_components.serving.settings import CallSettings
from cascade_components.spending import SpendLimit
from cascade_components.stickiness import Sticky

if TYPE_CHECKING:
    from cascade_components.monitoring.monitor import Monitor
    from cascade_components.monitoring.shadow import Shadow

Release = Literal["judged", "early"]

Points = dict[tuple[str, tuple[str, float] | None, float], ServablePolicy]
"""By the policy's fingerprint, the call's own target, and how near a spending limit is."""

_KEPT_POLICIES = 16


@dataclass(frozen=True)
class Serving:
    """How a cascade serves: the same from call to call."""

    policy: ServablePolicy
    prices: Mapping[str, TokenPrice] = field(default_factory=dict)
    spend_limit: SpendLimit | None = None
    sticky: Sticky | None = "loop"
    release: Release = "judged"
    remedy: str = ""
    """What to do about a conversation that nobody asks anything in, in the framework's words."""
    points: Points = field(default_factory=dict, repr=False, compare=False)
    """Operating points solved so far."""
    resilience: Resilience = field(default_factory=Resilience)
    health: Health = field(default_factory=Health, repr=False, compare=False)
    """What has been learnt about the models so far."""
    retrying: frozenset[str] = frozenset()
    """Models whose own clients retry."""
    monitor: Monitor | None = field(default=None, repr=False, compare=False)
    """Hears how each call ended."""
    shadow: Shadow | None = field(default=None, repr=False, compare=False)
    """Asks the target about a share of the accepted answers, too."""

    def policy_for(self, settings: CallSettings, thread: str | None) -> ServablePolicy:
        """The policy at the operating point of a call, cheaper near a spending limit; the last few are kept."""
        pressure = self.spend_limit.pressure(thread) if self.spend_limit else 0.0
        if settings.target is None and not pressure:
            return self.policy
        key = (self.policy.fingerprint, settings.target, pressure)
        found = self.points.get(key)
        if found is None:
            found = self.policy.at(**dict([settings.target])) if settings.target else self.policy
            found = found.cheaper(pressure) if pressure else found
            if len(self.points) >= _KEPT_POLICIES:
                oldest, *_ = list(self.points)  # a copy, for other threads may add to it
                self.points.pop(oldest, None)
            self.points[key] = found
        return found
