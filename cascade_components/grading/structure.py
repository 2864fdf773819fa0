"""JSON: whether an answer holds an object that a schema allows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade_components.grading.grader import Needs
from cascade_components.grading.question import Question

_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class JsonSchema:
    """The answer is JSON, bare or in a fenced block, and the schema allows it. Its values are not compared.

    Args:
        schema: For all questions; None: each question has its own.

    Raises:
        ValueError: It is no JSON schema.

    Example:
        >>> grade = JsonSchema({"type": "object", "required": ["city"]})
        >>> grade(Question("q", "?"), '{"city": "Oslo"}'), grade(Question("q", "?"), "Oslo")
        (True, False)
    """

    schema: Mapping[str, Any] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if self.schema is not None:
            _check(self.schema, self.source or "the schema")

    @classmethod
    def read(cls, path: str) -> JsonSchema:
        """From a file.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It holds no JSON schema.
        """
        try:
            return cls(json.loads(Path(path).read_text(encoding="utf-8")), path)
        except UnicodeDecodeError as error:
            problem = str(error)
        except json.JSONDecodeError as error:
            problem = f"line {error.lineno} is not valid JSON ({error.msg})"
        msg = f"{path} holds no JSON schema: {problem}."
        raise ValueError(msg)

    @property
    def name(self) -> str:
        """The kind and its file."""
        return "json-schema" + (f":{self.source}" if self.source else "")

    @property
    def needs(self) -> Needs:
        """A schema, unless there is one for all."""
        return "schema" if self.schema is None else "nothing"

    def __call__(self, question: Question, output: str) -> bool:
        """Whether the schema allows what the output holds."""
        from jsonschema.validators import validator_for

        schema: Any = question.schema if self.schema is None else self.schema
        if self.schema is None:
            _check(schema, f"the schema of {question.id!r}")
        fenced = _FENCED.findall(output)
        try:
            found = json.loads(fenced[-1] if fenced else output)
        except json.JSONDecodeError:
            return False
        return bool(validator_for(schema)(schema).is_valid(found))


def _check(schema: Any, place: str) -> None:
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
    except (SchemaError, AttributeError, TypeError) as error:
        problem = error.message if isinstance(error, SchemaError) else f"found {type(schema).__name__}"
        msg = f"{place} is no JSON schema: {problem:.120}."
        raise ValueError(msg) from None
