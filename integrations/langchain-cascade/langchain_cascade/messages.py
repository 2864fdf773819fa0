"""The one answer that the caller gets, as a message and as a stream of chunks."""

from __future__ import annotations

from typing import TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks

_Message = TypeVar("_Message", bound=AIMessage)


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


class AnswerStream:
    """The chunks of one streamed answer: all of them are kept, and those that may be seen are passed on."""

    def __init__(self, *, blocks: bool) -> None:
        self.seen = False
        """Whether something has been passed on: then it cannot be taken back."""
        self.text = ""
        self._chunks: list[AIMessageChunk] = []
        self._waiting: list[AIMessageChunk] = []
        self._indexed = BlockIndexer() if blocks else None

    def __len__(self) -> int:
        return len(self._chunks)

    def take(self, message: AIMessage) -> None:
        """Keep one chunk."""
        chunk = as_chunk(message)
        self._chunks.append(chunk)
        self.text += str(chunk.text)
        passing = passing_chunk(chunk)
        self._waiting.append(self._indexed(passing) if self._indexed else passing)

    def ready(self) -> list[AIMessageChunk]:
        """The chunks to pass on now: none before there is something to see, for until then another model can answer."""
        if not self.seen and not any(map(has_content, self._waiting)):
            return []
        self.seen = True
        return self.rest()

    def rest(self) -> list[AIMessageChunk]:
        """The chunks that have not been passed on."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def whole(self) -> AIMessageChunk | None:
        """What has come so far, as one chunk."""
        return add_ai_message_chunks(*self._chunks) if self._chunks else None


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
