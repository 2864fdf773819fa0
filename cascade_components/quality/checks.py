"""Checks that need no estimator: what makes an answer weak whatever it says. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for

from cascade_components.answers import Answer

ToolSchemas = Mapping[str, Mapping[str, Any]]
"""JSON schema of each tool's arguments, by the tool's name; an empty schema accepts any arguments."""

_TRUNCATED = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
_REFUSED = frozenset({"refusal", "content_filter", "content_filtered", "guardrail_intervened", "safety"})


def failed_checks(
    answer: Answer,
    *,
    tools: ToolSchemas | None = None,
    parsed: bool = True,
    made_calls: Sequence[Mapping[str, Any]] = (),
    must_call: bool = False,
) -> tuple[str, ...]:
    """Name the checks that an answer fails, in a fixed order; an empty tuple: it passes.

    `empty` (no text, no tool call), `truncated` and `refused` (by its finish reason), `unknown_tool`,
    `invalid_tool_call` (arguments that are no JSON object or don't fit the tool's schema), `repeated_tool_call`
    (a call whose result the model has already seen, one without arguments included), `missing_tool_call`,
    `unparsable`.

    Args:
        answer: The answer; a tool call whose `args` is no mapping is one that did not parse.
        tools: The tools that the model was given; None: they are not known.
        parsed: False: structured output was asked for, and the answer did not parse.
        made_calls: The tool calls (`name`, `args`) since the last human turn whose results the model has seen;
            leave out one that failed, for to repeat it is to try again.
        must_call: Whether the model was told to call a tool.

    Example:
        >>> failed_checks(Answer("It was the best of", finish_reason="length"))
        ('truncated',)
    """
    reason = (answer.finish_reason or "").lower()
    calls = answer.tool_calls
    made = [(call["name"], call["args"]) for call in made_calls]
    failed = {
        "empty": not answer.text.strip() and not calls,
        "truncated": reason in _TRUNCATED,
        "refused": reason in _REFUSED,
        "unknown_tool": tools is not None and any(call["name"] not in tools for call in calls),
        "invalid_tool_call": not all(fits(call["args"], (tools or {}).get(call["name"], {})) for call in calls),
        "repeated_tool_call": any((call["name"], call["args"]) in made for call in calls),
        "missing_tool_call": must_call and not calls,
        "unparsable": not parsed,
    }
    return tuple(name for name, fails in failed.items() if fails)


def fits(arguments: Any, schema: Mapping[str, Any]) -> bool:
    """Whether the arguments of a tool call are a JSON object that the tool's schema accepts.

    A schema that is no JSON schema cannot be checked against: it accepts any object.
    """
    if not isinstance(arguments, Mapping):
        return False
    validator = validator_for(schema, default=Draft202012Validator)
    try:
        validator.check_schema(dict(schema))
    except SchemaError:
        return True
    return validator(schema).is_valid(dict(arguments))
