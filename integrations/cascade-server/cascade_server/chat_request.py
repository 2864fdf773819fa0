"""A request for a chat completion, as OpenAI's API defines it; what the gateway cannot do is refused, not ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_NAME = r"^[a-zA-Z0-9_-]{1,64}$"


class _Strict(BaseModel):
    """Nothing is converted, and nothing unknown goes unnoticed."""

    model_config = ConfigDict(strict=True, extra="forbid")


class _Lenient(BaseModel):
    """Nothing is converted; fields that clients send back with an answer (`annotations`, …) are left out."""

    model_config = ConfigDict(strict=True, extra="ignore")


# — content —


class TextPart(_Lenient):
    """Text."""

    type: Literal["text"]
    text: str


class ImageUrl(_Lenient):
    """Where an image is: an address, or a data URL."""

    url: Annotated[str, Field(min_length=1)]
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(_Lenient):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(_Lenient):
    """Sound, in base64."""

    data: Annotated[str, Field(min_length=1)]
    format: Annotated[str, Field(min_length=1)]


class AudioPart(_Lenient):
    """Sound."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class FileData(_Lenient):
    """A file as a data URL."""

    file_data: Annotated[str, Field(min_length=1)]
    filename: str | None = None


class FileId(_Lenient):
    """A file that the provider has."""

    file_id: Annotated[str, Field(min_length=1)]


class FilePart(_Lenient):
    """A file."""

    type: Literal["file"]
    file: FileData | FileId


class RefusalPart(_Lenient):
    """What an assistant said instead of an answer."""

    type: Literal["refusal"]
    refusal: str


UserPart = Annotated[TextPart | ImagePart | AudioPart | FilePart, Field(discriminator="type")]
AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
Text = str | Annotated[list[TextPart], Field(min_length=1)]


# — messages —


class FunctionCall(_Lenient):
    """A function and its arguments, as JSON text."""

    name: Annotated[str, Field(pattern=_NAME)]
    arguments: str


class ToolCall(_Lenient):
    """What an assistant wants to be called."""

    id: Annotated[str, Field(min_length=1)]
    type: Literal["function"]
    function: FunctionCall


class SystemMessage(_Lenient):
    """Instructions."""

    role: Literal["system", "developer"]
    content: Text
    name: str | None = None


class UserMessage(_Lenient):
    """What a user said."""

    role: Literal["user"]
    content: str | Annotated[list[UserPart], Field(min_length=1)]
    name: str | None = None


class AssistantMessage(_Lenient):
    """What a model said."""

    role: Literal["assistant"]
    content: str | Annotated[list[AssistantPart], Field(min_length=1)] | None = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1)] | None = None


class ToolMessage(_Lenient):
    """What a tool returned."""

    role: Literal["tool"]
    content: Text
    tool_call_id: Annotated[str, Field(min_length=1)]


Message = Annotated[SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


# — tools and formats —


class Function(_Lenient):
    """A function that a model may want to be called."""

    name: Annotated[str, Field(pattern=_NAME)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Lenient):
    """A tool."""

    type: Literal["function"]
    function: Function


class NamedFunction(_Lenient):
    """A function's name."""

    name: Annotated[str, Field(pattern=_NAME)]


class NamedTool(_Lenient):
    """The tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class PlainFormat(_Lenient):
    """An answer in free text, or any JSON object."""

    type: Literal["text", "json_object"]


class NamedSchema(_Lenient):
    """A JSON schema and its name."""

    name: Annotated[str, Field(pattern=_NAME)]
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class SchemaFormat(_Lenient):
    """An answer of a JSON schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


class StreamOptions(_Lenient):
    """What a stream tells beside the answer."""

    include_usage: bool | None = None


def _whole(value: Any) -> Any:
    """A number without a fraction is an integer in JSON, however it is written."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Integer = Annotated[int, BeforeValidator(_whole)]
_Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
_Penalty = Annotated[float, Field(ge=-2, le=2)]


class ChatRequest(_Strict):
    """A request for a chat completion."""

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    tools: Annotated[list[Tool], Field(min_length=1)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")] | None = None

    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    seed: _Integer | None = None
    stop: str | Annotated[list[str], Field(min_length=1, max_length=4)] | None = None
    n: Annotated[Literal[1], BeforeValidator(_whole)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), BeforeValidator(_whole)] | None = None

    user: str | None = None
    metadata: dict[str, str] | None = None
    """For traces of the call; the wrapped models don't see it."""
    store: bool | None = None
    service_tier: str | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
