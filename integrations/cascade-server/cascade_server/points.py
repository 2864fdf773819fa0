"""The cascade's names as a model: by itself, and at other operating points."""

from __future__ import annotations

from cascade_components.serving.settings import TARGETS, CallSettings
from cascade_server.errors import ApiError
from cascade_server.settings import GatewaySettings
from langchain_cascade import CascadeChatModel


def settings_of(model: str, settings: GatewaySettings) -> CallSettings:
    """What the name of a model asks for.

    Raises:
        ApiError: There is no such model.

    Example:
        >>> settings_of("cascade:0.98", GatewaySettings()).target
        ('retention', 0.98)
    """
    name, colon, point = model.partition(":")
    if name != settings.name:
        raise unknown_model(model, f"it is called {settings.name!r}")
    if not colon:
        return CallSettings()
    key, equals, value = point.partition("=")
    if not equals:
        key, value = "retention", point
    if key == "model" and settings.expose_pool:
        return CallSettings(model=value)
    if key not in TARGETS:
        raise unknown_model(model, f"what stands behind the colon is one of {', '.join(TARGETS)}, as in budget=0.002")
    try:
        return CallSettings.read({key: float(value)}, "the model's name")
    except ValueError:
        raise unknown_model(model, f"{value!r} is no number") from None


def models_of(cascade: CascadeChatModel, settings: GatewaySettings) -> list[str]:
    """The names that are listed: the cascade's own, its operating points, and the pool's members where shown."""
    members = [f"model={name}" for name in cascade.policy.models] if settings.expose_pool else []
    return [settings.name, *(f"{settings.name}:{point}" for point in (*settings.points, *members))]


def check_point(cascade: CascadeChatModel, wishes: CallSettings, model: str) -> None:
    """Refuse an operating point that the policy cannot be at, or a member that the pool does not have.

    Raises:
        ApiError: It cannot.
    """
    if wishes.model is not None and wishes.model not in cascade.policy.models:
        raise unknown_model(model, f"the pool has {', '.join(cascade.policy.models)}")
    try:
        cascade.serving.policy_for(wishes, None)
    except ValueError as error:
        raise unknown_model(model, str(error)) from None


def unknown_model(model: str, why: str) -> ApiError:
    """What a client is told that asks for a model that there is not."""
    return ApiError(404, f"The model {model!r} does not exist: {why}.", code="model_not_found", param="model")
