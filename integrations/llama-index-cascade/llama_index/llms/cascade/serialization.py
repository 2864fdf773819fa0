"""The wrapped LLMs as data, without their secrets, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.llms.llm import LLM
from llama_index.core.llms.loading import RECOGNIZED_LLMS, load_llm

from cascade_components.serving.secrecy import may_be_secret


def models_to_dict(models: Mapping[str, LLM]) -> dict[str, Any]:
    """Each LLM as data; None where LlamaIndex could not load it by its class, or it holds a secret."""
    return {name: _written(model) for name, model in models.items()}


def models_from_dict(data: Mapping[str, Any], given: Mapping[str, LLM]) -> dict[str, LLM]:
    """The LLMs; `given` ones go before those of the data.

    Raises:
        ValueError: One is neither in the data nor given.
    """
    missing = [name for name, written in data.items() if written is None and name not in given]
    if missing:
        msg = (
            f"The data does not hold {', '.join(missing)}: give it again, "
            f'CascadeLLM.from_dict(data, models={{"{missing[0]}": ...}}).'
        )
        raise ValueError(msg)
    return {name: given[name] if name in given else load_llm(dict(written)) for name, written in data.items()}


def _written(model: LLM) -> dict[str, Any] | None:
    """An LLM's own data; its API key is left out, and read from the environment again."""
    if model.class_name() not in RECOGNIZED_LLMS:
        return None
    found = {name: value for name, value in model.to_dict().items() if name != "api_key"}
    return None if any(_secret_inside(name, value) for name, value in found.items()) else found


def _secret_inside(name: str, value: Any) -> bool:
    inside = value.items() if isinstance(value, Mapping) else ()
    return may_be_secret(name, value) or any(_secret_inside(str(key), one) for key, one in inside)
