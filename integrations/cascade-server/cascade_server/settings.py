"""What a gateway is told once, when it is made. Plain data that can be pickled, and sent to another machine."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cascade_components as cc
from cascade_components.serving.resilience import Resilience
from cascade_components.serving.servable import Price


@dataclass(frozen=True)
class Pool:
    """The chat models that a policy names, and what their tokens cost.

    Args:
        models: LangChain chat models, or Runnables around one, by the policy's names.
        prices: What a token of each costs; for those that are not named, what the policy's outcomes imply.
    """

    models: Mapping[str, Any]
    prices: Mapping[str, Price] = field(default_factory=dict)


MakePool = Callable[[], Pool]
"""Makes the pool where it will serve: chat models hold connections, which cannot be sent to another process."""

GivenPool = Pool | MakePool | Mapping[str, Any]
"""A pool, what makes it, or its models alone."""

PolicySource = str | os.PathLike[str] | cc.CascadePolicy
"""A policy's folder, which is watched; or a policy, which stays."""


@dataclass(frozen=True)
class GatewaySettings:
    """How a gateway serves.

    Args:
        name: What the cascade is called as a model.
        points: Operating points that `/v1/models` lists, as what stands behind the name and a colon: "0.98" or
            "retention=0.98" (share of the strongest model's accuracy), "budget=0.002" (mean cost per query) or
            "cost_weight=0.1" (λ). Others can be asked for as well.
        expose_pool: Whether a client may name a member of the pool itself, as in "cascade:model=small".
        api_keys: Of which a client must show one; none: everybody may ask.
        max_request_bytes: The longest body that is read.
        max_concurrency: Chat completions at a time; more get status 429.
        retry_after_s: What a client that gets 429 is told to wait, in seconds.
        timeout_s: For a whole answer, in seconds, until status 504; None: as long as the models' own time-outs let it.
        watch_s: How often the policy's folder is looked at for a new policy, in seconds; 0: never.
        reload_on_hangup: Whether the signal SIGHUP makes it look at once; for the main thread of a process of its own.
        resilience: What it does about models that are slow, fail, or are out.

    Raises:
        ValueError: A setting is out of its range.

    Example:
        >>> GatewaySettings(name="house", points=("0.98",)).max_concurrency
        256
    """

    name: str = "cascade"
    points: tuple[str, ...] = ("0.9", "0.95", "0.98", "0.99")
    expose_pool: bool = False
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    max_request_bytes: int = 8 * 2**20
    max_concurrency: int = 256
    retry_after_s: int = 1
    timeout_s: float | None = 600.0
    watch_s: float = 2.0
    reload_on_hangup: bool = False
    resilience: Resilience = field(default_factory=Resilience)

    def __post_init__(self) -> None:
        allowed: list[tuple[str, Any, bool, str]] = [
            ("name", self.name, bool(self.name.strip()) and ":" not in self.name, "a name without a colon"),
            ("api_keys", "one that is empty", all(key.strip() for key in self.api_keys), "keys that are not empty"),
            ("max_request_bytes", self.max_request_bytes, self.max_request_bytes > 0, "a positive number of bytes"),
            ("max_concurrency", self.max_concurrency, self.max_concurrency > 0, "a positive number of requests"),
            ("retry_after_s", self.retry_after_s, self.retry_after_s > 0, "a positive number of seconds"),
            ("timeout_s", self.timeout_s, self.timeout_s is None or _positive(self.timeout_s), "positive, or None"),
            ("watch_s", self.watch_s, self.watch_s == 0 or _positive(self.watch_s), "a number of seconds, 0 or more"),
        ]
        for name, value, fine, wanted in allowed:
            if not fine:
                msg = f"GatewaySettings: {name} must be {wanted}, found {value!r}."
                raise ValueError(msg)


def _positive(seconds: float) -> bool:
    return math.isfinite(seconds) and seconds > 0
