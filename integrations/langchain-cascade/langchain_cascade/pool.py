"""The wrapped models, by the names that the policy knows them by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from cascade_components.cascade import Router
from cascade_components.serving.secrecy import may_be_secret
from cascade_components.serving.servable import check_names
from langchain_cascade.tools import ChatRunnable, innermost


def check_pool(models: Mapping[str, Any], policy: Router) -> None:
    """Refuse a pool that is not the policy's.

    Raises:
        ValueError: Names are missing or unknown, or a value holds no chat model.
    """
    check_names(models, policy)
    for name, model in models.items():
        if not hasattr(type(innermost(model)), "bind_tools"):
            msg = f"{name} holds no chat model: found {type(innermost(model)).__name__}."
            raise ValueError(msg)


def identity(model: ChatRunnable) -> dict[str, Any]:
    """Class and parameters of a wrapped model, as it names them itself, without secrets."""
    inner = innermost(model)
    params: Mapping[str, Any] = inner._identifying_params if isinstance(inner, BaseChatModel) else {}
    return {"class": type(inner).__name__, **_without_secrets(params)}


def _without_secrets(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters, of what may be a secret only a digest: two keys are two identities."""
    found: dict[str, Any] = {}
    for name, value in parameters.items():
        if may_be_secret(name, value):
            found[name] = hashlib.sha256(repr(value).encode()).hexdigest()[:16]
        else:
            found[name] = _without_secrets(value) if isinstance(value, Mapping) else value
    return found
