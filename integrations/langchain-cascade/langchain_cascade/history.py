"""A conversation that changes models: what another provider can read of it, and the tool calls made so far."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import takewhile
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

Author = Callable[[AIMessage], str | None]
"""Names the provider that wrote a message; None: it is not known."""

# Names in `ls_provider` and in `response_metadata["model_provider"]` of one provider's integrations.
_SAME_PROVIDER = {
    "azure": "openai",
    "azure_openai": "openai",
    "openai_codex": "openai",
    "openai_mantle": "openai",
    "anthropic_chat": "anthropic",
    "anthropic_bedrock": "anthropic",
    "anthropic_mantle": "anthropic",
    "anthropicvertex": "anthropic",
    "google_anthropic_vertex": "anthropic",
    "amazon_bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "google_vertexai": "google_genai",
    "mistral": "mistralai",
}
# Prompt-cache markers by name, and who reads them: langchain-anthropic, langchain-aws and langchain-openai send these;
# OpenRouter's and LiteLLM's documentation take `cache_control` for the models behind them.
_CACHE_MARKERS = {
    "cache_control": {"anthropic", "bedrock", "openrouter", "litellm"},
    "cachePoint": {"bedrock"},
    "prompt_cache_breakpoint": {"openai"},
}
# Tool-call ids: what langchain-anthropic and langchain-mistralai let through unchanged; the Converse API's ToolUseBlock
# has a limit of 64 characters, OpenAI's chat completions one of 40 ("Expected a string with maximum length 40").
_ANY_CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}")
_CALL_IDS = {"mistralai": re.compile(r"[a-zA-Z0-9]{9}")}
# Who takes media in what the assistant said: OpenAI, Anthropic and the Converse API refuse it ("Image URLs are only
# allowed for messages with role 'user'"), and langchain-mistralai and others send standard blocks there as they are.
_MEDIA_ANSWERS = frozenset({"google_genai"})
_MEDIA = frozenset({"image", "audio", "video", "file"})
_MEDIA_KEYS = frozenset({"type", "url", "base64", "mime_type"})
_PROVIDER_IDS = ("msg_", "resp_", "rs_")


def sanitize_history(
    messages: Sequence[BaseMessage], provider: str, *, author: Author | None = None
) -> list[BaseMessage]:
    """Make a conversation readable for another provider.

    What the provider wrote itself stays as it is. Of other answers it gets the text, media (a note such as "[image]"
    where it takes none in answers), and the calls of the caller's tools, with ids that it accepts, in their results
    as well. Reasoning, tools that the other provider ran, citations, signatures and ids of its own are dropped, and so
    is a message of which nothing is left. Prompt-cache markers that the provider does not read are taken out of every
    message. A message that needs no change is the same object; none is changed in place.

    An answer of unknown author counts as another provider's. The result tells no author any more: keep the
    conversation itself, and sanitize it anew for each model.

    Args:
        messages: The conversation.
        provider: The provider that will read it, by LangChain's name, such as "openai" or "anthropic".
        author: Names the provider that wrote an answer whose `response_metadata` has no `model_provider`.

    Example:
        >>> thinking = {"type": "thinking", "thinking": "2 + 2 …", "signature": "EqQB"}
        >>> sanitize_history([AIMessage([thinking, {"type": "text", "text": "4"}])], "openai")[0].content
        '4'
    """
    reader = _normalized(provider)
    markers = {marker for marker, readers in _CACHE_MARKERS.items() if reader not in readers}
    call_ids: dict[str, str | None] = {}
    read = (_read(_without_markers(message, markers), reader, author, call_ids) for message in messages)
    return [message for message in read if message is not None]


def provider_of(model: Any) -> str | None:
    """The provider of a chat model, by the name that stands for all of its integrations; None: nobody knows.

    Azure is "openai", Vertex AI is "google_genai", each of Bedrock's own integrations is "bedrock".
    """
    provider = model._get_ls_params().get("ls_provider") if isinstance(model, BaseChatModel) else None
    return _normalized(provider) if provider else None


def seen_calls(messages: Sequence[BaseMessage]) -> tuple[dict[str, Any], ...]:
    """The tool calls (`name`, `args`) since the last human turn whose results are in the conversation.

    A call that failed is left out: to repeat it is to try again.
    """
    turn = list(takewhile(lambda message: not isinstance(message, HumanMessage), reversed(messages)))[::-1]
    answered = {
        message.tool_call_id for message in turn if isinstance(message, ToolMessage) and message.status != "error"
    }
    return tuple(
        {"name": call["name"], "args": call["args"]}
        for message in turn
        if isinstance(message, AIMessage)
        for call in message.tool_calls
        if call["id"] in answered
    )


def _normalized(provider: str) -> str:
    name = provider.lower().replace("-", "_")
    return _SAME_PROVIDER.get(name, name)


def _writer(message: AIMessage, author: Author | None) -> str | None:
    provider = message.response_metadata.get("model_provider") or (author(message) if author else None)
    return _normalized(provider) if provider else None


def _without_markers(message: BaseMessage, markers: Collection[str]) -> BaseMessage:
    """The message without the prompt-cache markers of others; itself where it has none."""
    if isinstance(message.content, str):
        return message
    content = [kept for block in message.content if (kept := _unmarked(block, markers)) is not None]
    return message if content == message.content else message.model_copy(update={"content": content})


def _unmarked(block: str | dict[Any, Any], markers: Collection[str]) -> str | dict[Any, Any] | None:
    """A content block without the markers in it or in what it nests; None: it was nothing but a marker."""
    if isinstance(block, str):
        return block
    kept = {name: value for name, value in block.items() if name not in markers}
    for name in ("extras", "metadata", "value"):
        if isinstance(nested := kept.get(name), dict) and not nested.keys().isdisjoint(markers):
            kept[name] = {inner: value for inner, value in nested.items() if inner not in markers}
            if not kept[name]:
                del kept[name]
    return None if kept != block and kept.keys() <= {"type", "id", "index"} else kept


def _read(
    message: BaseMessage, reader: str, author: Author | None, call_ids: dict[str, str | None]
) -> BaseMessage | None:
    """What the reader gets of a message; None: nothing.

    Notes in `call_ids` how each tool call is named for the reader, None where it cannot be told of it.
    """
    if isinstance(message, ToolMessage):
        call_id = call_ids.get(message.tool_call_id, message.tool_call_id)
        if call_id == message.tool_call_id:
            return message
        return None if call_id is None else message.model_copy(update={"tool_call_id": call_id})
    if not isinstance(message, AIMessage):
        return message
    writer = _writer(message, author)
    own_ids = [call["id"] for call in (*message.tool_calls, *message.invalid_tool_calls) if call["id"]]
    if writer == reader:
        call_ids.update({call_id: call_id for call_id in own_ids})
        return message
    blocks = _standard_blocks(message, writer)
    call_ids.update(dict.fromkeys(_native_call_ids(blocks)))
    call_ids.update({call_id: _fitting(call_id, reader) for call_id in own_ids})
    rewritten = _rewritten(message, list(_readable(blocks, reader)), reader, by_hand=writer is None)
    return rewritten if rewritten.content or own_ids else None


def _standard_blocks(message: AIMessage, writer: str | None) -> list[Any]:
    """LangChain's own translation of a message's content, which knows the providers' formats."""
    # A copy: before langchain-core 1.8 some translators change what they read, and most of them skip plain strings.
    content: Any = deepcopy(message.content)
    if isinstance(content, list):
        content = [{"type": "text", "text": block} if isinstance(block, str) else block for block in content]
    metadata = {"model_provider": writer, **message.response_metadata}
    try:
        blocks = list(message.model_copy(update={"content": content, "response_metadata": metadata}).content_blocks)
    except (KeyError, TypeError, ValueError):  # a block that lacks what its provider's format demands
        blocks = []
    if not blocks or (message.text and all(block.get("type") != "text" for block in blocks)):
        blocks = list(message.model_copy(update={"content": content, "response_metadata": {}}).content_blocks)
    return blocks


def _readable(blocks: Iterable[dict[str, Any]], reader: str) -> Iterator[dict[str, Any]]:
    """What the reader takes of standard blocks in an answer: text and media, with nothing else of the writer's."""
    for block in blocks:
        kind = block.get("type")
        if kind in _MEDIA:
            held = block.get("url") or block.get("base64")
            if held and reader in _MEDIA_ANSWERS:
                yield {key: value for key, value in block.items() if key in _MEDIA_KEYS}
            else:
                yield {"type": "text", "text": f"[{kind}]"}
        elif kind in {"text", "text-plain", "refusal"} and (text := block.get("text") or block.get("refusal")):
            yield {"type": "text", "text": text}


def _rewritten(message: AIMessage, blocks: list[dict[str, Any]], reader: str, *, by_hand: bool) -> AIMessage:
    """A message of nothing but these blocks, its tool calls and its trace; the message itself if it is that already."""
    content: str | list[Any] = list(blocks)
    if all(block["type"] == "text" for block in blocks) and not (by_hand and blocks == message.content):
        text = "".join(block["text"] for block in blocks)
        content = text if text.strip() else ""
    rewritten = AIMessage(
        content=content,
        name=message.name,
        id=None if (message.id or "").startswith(_PROVIDER_IDS) else message.id,
        tool_calls=[
            {"type": "tool_call", "name": call["name"], "args": call["args"], "id": _fitting(call["id"], reader)}
            for call in message.tool_calls
        ],
        invalid_tool_calls=[{**call, "id": _fitting(call["id"], reader)} for call in message.invalid_tool_calls],
        usage_metadata=message.usage_metadata,
        response_metadata={name: value for name, value in message.response_metadata.items() if name == "cascade"},
    )
    return message if rewritten == message else rewritten


def _native_call_ids(blocks: Iterable[dict[str, Any]]) -> list[str]:
    """The calls of tools that only the writer's provider knows but the caller runs, such as a computer's screen."""
    native = [block.get("value") for block in blocks if block.get("type") == "non_standard"]
    return [block["call_id"] for block in native if isinstance(block, dict) and "call_id" in block]


def _fitting(call_id: str | None, reader: str) -> str | None:
    """The id of a tool call as the reader accepts it: nine letters and digits of its hash, if not as it is."""
    if not call_id or _CALL_IDS.get(reader, _ANY_CALL_ID).fullmatch(call_id):
        return call_id
    return base64.b32encode(hashlib.sha256(call_id.encode()).digest()).decode().lower()[:9]
