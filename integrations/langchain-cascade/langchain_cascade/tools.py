"""Tools, schemas and call arguments, put on each wrapped model by its own means: providers format them differently."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableConfig, RunnableParallel, RunnableSequence
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.config import merge_configs
from langchain_core.runnables.configurable import DynamicRunnable
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool

from cascade_components.quality.checks import fits

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

    @property
    def forced(self) -> bool:
        """Whether the model has to call a tool."""
        choice = self.tool_choice.get("type") if isinstance(self.tool_choice, Mapping) else self.tool_choice
        return choice not in (None, False, "auto", "none")

    @cached_property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """JSON schema of each tool's arguments; empty for what a provider brings itself."""
        return dict(_schema(tool) for tool in self.described)

    @cached_property
    def described(self) -> list[Any]:
        """The tools as OpenAI's API has them; what a provider brings itself, as it was given."""
        return [_described(tool) for tool in self.tools]


@dataclass(frozen=True)
class Schema:
    """A schema as the caller gave it, until a wrapped model applies it."""

    schema: Any
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """`method`, `strict` and whatever else the wrapped models' own methods know."""

    def fits(self, parsed: Any) -> bool:
        """Whether a parsed answer is of the schema: a dictionary may have come from a parser that knows no schema."""
        return _fits(parsed, self.schema) if isinstance(parsed, Mapping) else parsed is not None

    def bind_to(self, model: Any, kwargs: Mapping[str, Any]) -> ChatRunnable:
        """The model's own structured output, with the raw message at hand, and the call's own arguments."""
        parser: ChatRunnable = model.with_structured_output(self.schema, include_raw=True, **self.kwargs)
        if not kwargs or not isinstance(parser, RunnableSequence) or not isinstance(parser.first, RunnableParallel):
            return parser
        # A parallel step hands no call arguments to its steps: they have to be bound to the model itself.
        raw = parser.first.steps__["raw"].bind(**kwargs)
        return RunnableSequence(RunnableParallel(raw=raw), *parser.steps[1:])


def has_format(text: str, response_format: Any) -> bool:
    """Whether a text has the format that was bound to a model: JSON, of the schema where there is one.

    Example:
        >>> has_format('{"city": "Oslo"', {"type": "json_object"})
        False
    """
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if not response_format or kind == "text":
        return True
    try:
        parsed = json.loads(text)
    except ValueError:
        return False
    if kind == "json_object":
        return True
    described = response_format.get("json_schema", {}) if isinstance(response_format, Mapping) else {}
    return _fits(parsed, described.get("schema", {}) if described else response_format)


def _fits(parsed: Any, schema: Any) -> bool:
    try:
        return fits(parsed, convert_to_json_schema(schema) if schema else {})
    except (AttributeError, KeyError, TypeError, ValueError):
        return True  # a schema of the provider's own: only the provider can check against it


def _described(tool: Any) -> Any:
    try:
        found = convert_to_openai_tool(tool)
    except ValueError:
        return tool
    return found if "function" in found else tool


def _schema(described: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(described, dict) and "function" in described:
        function = described["function"]
        return function["name"], function.get("parameters") or {}
    # A provider's own tool, such as {"type": "web_search"}: only the provider knows its schema.
    name = described.get("name", described.get("type")) if isinstance(described, dict) else described
    return str(name), {}


def resolved(model: ChatRunnable, config: RunnableConfig) -> ChatRunnable:
    """A wrapped model as a call's config configures it: without its configurable layers, its bindings kept."""
    if isinstance(model, DynamicRunnable):
        found = resolved(model.prepare(config)[0], config)
        return found.with_config(model.config) if model.config else found
    if isinstance(model, RunnableBindingBase):
        return model.model_copy(update={"bound": resolved(model.bound, merge_configs(model.config, config))})
    # What `init_chat_model` makes of configurable fields is a layer that nothing public resolves.
    layer = None if isinstance(model, BaseChatModel) else getattr(model, "_model", None)
    return model if layer is None else resolved(layer(config), config)


def adapt(
    model: ChatRunnable, change: Callable[[Any, Mapping[str, Any]], ChatRunnable], kwargs: Mapping[str, Any]
) -> ChatRunnable:
    """Change the chat model inside its bindings, and keep the bindings.

    Args:
        model: A wrapped model.
        change: Takes the innermost model and the call arguments that the bindings and the caller bind to it.
        kwargs: The caller's call arguments.
    """
    if isinstance(model, RunnableBindingBase):
        bound = adapt(model.bound, change, {**model.kwargs, **kwargs})
        return model.model_copy(update={"bound": bound, "kwargs": {}})
    return change(model, kwargs)


def innermost(model: Any) -> Any:
    """The chat model inside bindings, configurable layers, retries and fallbacks."""
    for layer in ("bound", "default", "runnable"):
        if not hasattr(type(model), "bind_tools") and layer in getattr(type(model), "model_fields", {}):
            return innermost(getattr(model, layer))
    return model
