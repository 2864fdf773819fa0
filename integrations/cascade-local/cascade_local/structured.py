"""Answers in the shape of a schema: llama.cpp lets the model choose only tokens that fit."""

import json
from operator import itemgetter
from typing import Any, Literal

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

Method = Literal["json_schema", "function_calling", "json_mode"]


def constrained(
    model: BaseChatModel, schema: dict[str, Any] | type, *, method: Method, include_raw: bool
) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
    """Bind a model to a schema and parse what it answers; see `ChatLocal.with_structured_output`."""
    wanted = convert_to_json_schema(schema)
    formats: dict[str, dict[str, Any]] = {
        "json_schema": {
            "type": "json_schema",
            "json_schema": {"name": wanted.get("title", "answer"), "schema": wanted},
        },
        "json_mode": {"type": "json_object"},
    }
    formats["function_calling"] = formats["json_schema"]
    if method not in formats:
        raise ValueError(f"method must be one of {', '.join(sorted(formats))}, not {method!r}")
    traced = {"kwargs": {"method": method}, "schema": schema}
    bound = model.bind(response_format=formats[method], ls_structured_output_format=traced)
    parser: BaseOutputParser[Any] = JsonOutputParser()
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        parser = PydanticOutputParser(pydantic_object=schema)
    parse = _require_whole | parser
    if not include_raw:
        return bound | parse
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parse, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def _require_whole(message: AIMessage) -> AIMessage:
    """Raise if the answer was cut off: what can still be read of it would look whole."""
    if message.response_metadata.get("finish_reason") == "length" and not _is_json(str(message.text)):
        raise OutputParserException("the answer was cut off before its JSON was complete; raise max_tokens")
    return message


def _is_json(text: str) -> bool:
    """Whether the text is one complete JSON value; white space after it is what small models like to go on with."""
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True
