"""A cascade as plain JSON data, and back: the policy by its folder, the models by LangChain's own serialisation."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd, load
from langchain_core.runnables import RunnableBinding

from cascade_components.pricing import TokenPrice
from cascade_components.serving.resilience import Resilience
from cascade_components.serving.secrecy import may_be_secret
from cascade_components.spending import SpendLimit
from langchain_cascade.base import CascadeBase
from langchain_cascade.tools import ChatRunnable

_PLAIN = (
    "sticky",
    "release",
    "temperature",
    "max_tokens",
    "timeout",
    "stop",
    "streaming",
    "disable_streaming",
    "output_version",
    "name",
    "tags",
    "metadata",
)
"""Parameters that are JSON data themselves."""


def spec_of(model: CascadeBase, policy: str | os.PathLike[str] | None) -> dict[str, Any]:
    """A cascade as JSON data.

    Raises:
        ValueError: The policy's folder is not known, or a parameter cannot be written down.
    """
    folder = policy or model.policy_folder
    if folder is None:
        msg = 'This cascade was not made from a folder: policy.save("policy/"), then to_spec("policy/").'
        raise ValueError(msg)
    if model.query is not None:
        msg = "query= is a function and cannot be written down: leave it out, and give it to from_spec again."
        raise ValueError(msg)
    prices = {name: asdict(price) for name, price in model.serving.prices.items()}
    limit = model.spend_limit
    caps = None if limit is None else {name: getattr(limit, name) for name in ("usd", "per", "near", "at_limit")}
    return {
        "policy": os.fspath(folder),
        "fingerprint": model.policy.fingerprint,
        "models": {name: _written(found) for name, found in model.models.items()},
        "parameters": {name: value for name in _PLAIN if (value := getattr(model, name)) is not None},
        "prices": prices,
        "spend_limit": caps,
        "resilience": model.resilience.to_dict(),
    }


def parameters_of(spec: Mapping[str, Any], given: Mapping[str, ChatRunnable]) -> dict[str, Any]:
    """What a cascade is made from again; `given` models go before those of the spec.

    Raises:
        ValueError: A model is neither in the spec nor given.
    """
    missing = [name for name, written in spec["models"].items() if written is None and name not in given]
    if missing:
        msg = (
            f"The spec does not hold {', '.join(missing)}: such a model cannot be written down without its secrets. "
            f'Give it again: from_spec(spec, models={{"{missing[0]}": ...}}).'
        )
        raise ValueError(msg)
    read = {name: _read(written) for name, written in spec["models"].items() if name not in given}
    return {
        "policy": spec["policy"],
        "models": {**read, **given},
        "prices": {name: TokenPrice(**price) for name, price in spec["prices"].items()} or None,
        "spend_limit": None if spec["spend_limit"] is None else SpendLimit(**spec["spend_limit"]),
        "resilience": Resilience(**spec.get("resilience", {})),
        **spec["parameters"],
    }


def _written(model: ChatRunnable) -> dict[str, Any] | None:
    core = model
    while isinstance(core, RunnableBinding):
        core = core.bound
    if not isinstance(core, BaseChatModel):
        return None  # other layers lose something on their way through JSON
    found: dict[str, Any] = dumpd(model)
    return found if all(map(_is_plain, _parts(found))) else None


def _read(written: dict[str, Any]) -> ChatRunnable:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The function `load` is in beta")
        found: ChatRunnable = load(written, allowed_objects="all", secrets_from_env=True)
    return found


def _parts(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every dictionary and every value inside a serialised model, with its name."""
    yield name, value
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _parts(one, key)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _parts(one, name)


def _is_plain(part: tuple[str, Any]) -> bool:
    """Whether a part of a serialised model can be written down: nothing unknown, and no secret but by its name."""
    name, value = part
    if isinstance(value, dict) and value.get("type") in ("not_implemented", "secret"):
        return bool(value["type"] == "secret")
    return not may_be_secret(name, value)
