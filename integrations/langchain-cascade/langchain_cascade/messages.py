"""Messages in and out: what is routed, and the one answer that the caller gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata, add_usage

from cascade_components.cascade import Trace

QueryExtractor = Callable[[list[BaseMessage]], str]
"""Takes from a conversation the text that is routed."""

_Message = TypeVar("_Message", bound=AIMessage)


@dataclass(frozen=True)
class Pass:
    """One wrapped model's answer."""

    model: str
    message: AIMessage
    latency_ms: float
    cost_usd: float | None
    parsed: Any = None
    parsing_error: BaseException | None = None

    def to_dict(self) -> dict[str, Any]:
        """The pass as plain data, without the answer's text: a rejected one stays out of the final message."""
        return {
            "model": self.model,
            "usage": self.message.usage_metadata,
            "cost_usd": self.cost_usd,
            "latency_ms": round(self.latency_ms, 3),
        }


def last_human_text(messages: list[BaseMessage]) -> str:
    """The text of the last human turn; empty where there is none."""
    return next((str(message.text) for message in reversed(messages) if isinstance(message, HumanMessage)), "")


def whole_text(messages: Sequence[BaseMessage]) -> str:
    """A conversation's text where its last human turn has none; else what it shows, such as "[image]".

    Raises:
        ValueError: The conversation is empty, or blank.
    """
    text = "\n".join(filter(None, (str(message.text).strip() for message in messages)))
    if text:
        return text
    kinds = {str(block["type"]) for message in messages for block in message.content_blocks} - {"text"}
    if not kinds:
        msg = "There is nothing to answer: no message has any content."
        raise ValueError(msg)
    return " ".join(f"[{kind}]" for kind in sorted(kinds))


def tool_caller(messages: Sequence[BaseMessage]) -> str | None:
    """In a tool loop, the pool's member that made the tool call; None outside of one."""
    if not messages or not isinstance(messages[-1], ToolMessage):
        return None
    called = next((message for message in reversed(messages) if isinstance(message, AIMessage)), None)
    trace = called.response_metadata.get("cascade") if called else None
    return trace.get("model") if isinstance(trace, dict) else None


def total_usage(passes: Iterable[Pass]) -> UsageMetadata | None:
    """The sum over every pass; None where no model told its usage."""
    known = [usage for one in passes if (usage := one.message.usage_metadata)]
    return reduce(add_usage, known) if known else None


def summary(trace: Trace, passes: Sequence[Pass]) -> dict[str, Any]:
    """What the final message says about how it came about."""
    costs = [one.cost_usd for one in passes]
    known = [cost for cost in costs if cost is not None]
    return {
        **trace.to_dict(),
        "cost_usd": sum(known) if len(known) == len(costs) else None,
        "passes": [one.to_dict() for one in passes],
    }


def as_chunk(message: AIMessage) -> AIMessageChunk:
    """A message as a chunk: as it is if it is one, else as the only chunk of its stream."""
    if isinstance(message, AIMessageChunk):
        return message
    fields = {name: value for name, value in message.__dict__.items() if name != "type"}
    return AIMessageChunk(**fields, chunk_position="last")


def passing_chunk(chunk: AIMessageChunk) -> AIMessageChunk:
    """A wrapped model's chunk without what only the cascade's own last chunk may say."""
    metadata = {name: value for name, value in chunk.response_metadata.items() if name != "cascade"}
    changes = {"usage_metadata": None, "chunk_position": None, "response_metadata": metadata}
    return chunk.model_copy(update=changes)


def last_chunk(message: AIMessage) -> AIMessageChunk:
    """The end of a stream whose content has been passed on: usage and trace of its final message."""
    return AIMessageChunk(
        content="" if isinstance(message.content, str) else [],
        id=message.id,
        usage_metadata=message.usage_metadata,
        response_metadata={"cascade": message.response_metadata["cascade"]},
        chunk_position="last",
    )


def has_content(chunk: AIMessageChunk) -> bool:
    """Whether a reader of the stream would notice this chunk."""
    return bool(chunk.content or chunk.tool_call_chunks or chunk.additional_kwargs)


def with_blocks(message: _Message) -> _Message:
    """A message whose content is LangChain's standard blocks (`output_version="v1"`)."""
    metadata = {**message.response_metadata, "output_version": "v1"}
    return message.model_copy(update={"content": list(message.content_blocks), "response_metadata": metadata})


class BlockIndexer:
    """Numbers the standard blocks of a stream, so that chunks of one block merge into one."""

    def __init__(self) -> None:
        self._index = -1
        self._kind = ""

    def __call__(self, chunk: AIMessageChunk) -> AIMessageChunk:
        """The chunk with standard blocks as its content."""
        chunk = with_blocks(chunk)
        blocks = []
        for block in chunk.content:
            kind = block["type"] if isinstance(block, dict) else "text"
            if kind != self._kind:
                self._kind, self._index = kind, self._index + 1
            blocks.append({"index": self._index, **block} if isinstance(block, dict) else block)
        return chunk.model_copy(update={"content": blocks})
