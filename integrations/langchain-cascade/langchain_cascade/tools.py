"""Tools, schemas and call arguments, put on each wrapped model by its own means: providers format them differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig, RunnableParallel, RunnableSequence
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.config import merge_configs
from langchain_core.runnables.configurable import DynamicRunnable
from langchain_core.utils.function_calling import convert_to_openai_tool

ChatRunnable = Runnable[Any, Any]
"""A chat model, or anything around one: bound, configurable, with retries or fallbacks."""


@dataclass(frozen=True)
class Tools:
    """Tools as the caller gave them, until a wrapped model formats them."""

    tools: tuple[Any, ...]
    tool_choice: Any = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def bind_to(self, model: Any, kwargs: Mapping[str, Any]) -> ChatRunnable:
        """The model with these tools, in its provider's format, and the call's own arguments."""
        choice = {} if self.tool_choice is None else {"tool_choice": self.tool_choice}
        bound: ChatRunnable = model.bind_tools(list(self.tools), **choice, **self.kwargs)
        return bound.bind(**kwargs) if kwargs else bound

    @cached_property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """JSON schema of each tool's arguments; empty for what a provider brings itself."""
        return dict(_schema(tool) for tool in self.tools)


@dataclass(frozen=True)
class Schema:
    """A schema as the caller gave it, until a wrapped model applies it."""

    schema: Any
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """`method`, `strict` and whatever else the wrapped models' own methods know."""

    def bind_to(self, model: Any, kwargs: Mapping[str, Any]) -> ChatRunnable:
        """The model's own structured output, with the raw message at hand, and the call's own arguments."""
        parser: ChatRunnable = model.with_structured_output(self.schema, include_raw=True, **self.kwargs)
        if not kwargs or not isinstance(parser, RunnableSequence) or not isinstance(parser.first, RunnableParallel):
            return parser
        # A parallel step hands no call arguments to its steps: they have to be bound to the model itself.
        raw = parser.first.steps__["raw"].bind(**kwargs)
        return RunnableSequence(RunnableParallel(raw=raw), *parser.steps[1:])


def _schema(tool: Any) -> tuple[str, dict[str, Any]]:
    try:
        function = convert_to_openai_tool(tool)["function"]
    except (KeyError, ValueError):
        # A provider's own tool, such as {"type": "web_search"}: only the provider knows its schema.
        return str(tool.get("name", tool.get("type"))) if isinstance(tool, dict) else str(tool), {}
    return function["name"], function.get("parameters") or {}


def adapt(
    model: ChatRunnable,
    config: RunnableConfig,
    change: Callable[[Any, Mapping[str, Any]], ChatRunnable],
    kwargs: Mapping[str, Any],
) -> ChatRunnable:
    """Change the chat model inside its bindings and configurable layers, and keep the layers.

    Args:
        model: A wrapped model.
        config: The call's config, which configurable models read.
        change: Takes the innermost model and the call arguments that the layers and the caller bind to it.
        kwargs: The caller's call arguments.
    """
    if isinstance(model, DynamicRunnable):
        return adapt(model.prepare(config)[0], config, change, kwargs)
    if isinstance(model, RunnableBindingBase):
        bound = adapt(model.bound, merge_configs(model.config, config), change, {**model.kwargs, **kwargs})
        return model.model_copy(update={"bound": bound, "kwargs": {}})
    return change(model, kwargs)


def innermost(model: Any) -> Any:
    """The chat model inside bindings, configurable layers, retries and fallbacks."""
    for layer in ("bound", "default", "runnable"):
        if not hasattr(type(model), "bind_tools") and layer in getattr(type(model), "model_fields", {}):
            return innermost(getattr(model, layer))
    return model
