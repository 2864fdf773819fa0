"""The wrapped models, by the names that the policy knows them by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, cast

from langchain_core.language_models import BaseChatModel, ModelProfile

from cascade_components.cascade import Router
from langchain_cascade.tools import ChatRunnable, innermost


class ServablePolicy(Router, Protocol):
    """What serving needs of a policy; `CascadePolicy` is one."""

    def at(
        self, *, budget: float | None = None, retention: float | None = None, cost_weight: float | None = None
    ) -> Self:
        """The same policy at another operating point."""
        ...

    def cost_usd(self, model: str, input_tokens: int, output_tokens: int) -> float | None:
        """Price of one call in USD; None where it is unknown."""
        ...


def check_pool(models: Mapping[str, Any], policy: Router) -> None:
    """Refuse a pool that is not the policy's.

    Raises:
        ValueError: Names are missing or unknown, or a value holds no chat model.
    """
    missing = [name for name in policy.models if name not in models]
    unknown = sorted(set(models) - set(policy.models))
    if missing or unknown:
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"not in the policy: {', '.join(unknown)}"] if unknown else []
        msg = f"The models are not those of the policy ({'; '.join(parts)}); it knows {', '.join(policy.models)}."
        raise ValueError(msg)
    for name, model in models.items():
        if not hasattr(type(innermost(model)), "bind_tools"):
            msg = f"{name} holds no chat model: found {type(innermost(model)).__name__}."
            raise ValueError(msg)


def pool_profile(models: Mapping[str, ChatRunnable], strongest: str) -> ModelProfile | None:
    """What the pool can do; None where the strongest model has no profile.

    Capabilities are the strongest model's, for it is asked when the others cannot; limits are the lowest of all.
    """
    last = getattr(innermost(models[strongest]), "profile", None)
    if not last:
        return None
    found: dict[str, Any] = {name: value for name, value in last.items() if isinstance(value, bool)}
    profiles = [getattr(innermost(model), "profile", None) or {} for model in models.values()]
    for limit in ("max_input_tokens", "max_output_tokens"):
        known = [profile[limit] for profile in profiles if limit in profile]
        if known:
            found[limit] = min(known)
    return cast("ModelProfile", found)


def identity(model: ChatRunnable) -> dict[str, Any]:
    """Class and parameters of a wrapped model, as it names them itself."""
    inner = innermost(model)
    params: Mapping[str, Any] = inner._identifying_params if isinstance(inner, BaseChatModel) else {}
    return {"class": type(inner).__name__, **params}
