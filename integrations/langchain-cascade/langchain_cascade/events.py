"""Protocol events (`stream_events(version="v3")`) from the cascade's own stream.

LangChain's own way opens a chat model run around the call, and the wrapped models' tokens would count twice.
The only private import from langchain-core in this package: nothing public turns chunks into events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from langchain_core.language_models._compat_bridge import achunks_to_events, chunks_to_events
from langchain_core.language_models.chat_model_stream import AsyncChatModelStream, ChatModelStream
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk


def event_stream(chunks: Iterator[AIMessageChunk]) -> ChatModelStream:
    """The chunks as a stream of events; nothing runs before it is read."""
    stream = ChatModelStream()
    events = chunks_to_events(ChatGenerationChunk(message=chunk) for chunk in chunks)

    def pump() -> bool:
        try:
            event = next(events, None)
        except BaseException as error:
            stream.fail(error)
            raise
        if event is None:
            return False
        stream.dispatch(event)
        return True

    stream.bind_pump(pump)
    return stream


async def aevent_stream(chunks: AsyncGenerator[AIMessageChunk]) -> AsyncChatModelStream:
    """`event_stream`, async."""
    return _AsyncEventStream(chunks)


class _AsyncEventStream(AsyncChatModelStream):
    """Any number of tasks may read it: each takes its turn at the source."""

    def __init__(self, chunks: AsyncGenerator[AIMessageChunk]) -> None:
        super().__init__()
        self._chunks = chunks
        self._source = achunks_to_events(_generations(chunks))
        self._turn = asyncio.Lock()
        self.set_arequest_more(self._pump)

    async def _pump(self) -> bool:
        async with self._turn:
            try:
                event = await anext(self._source, None)
            except BaseException as error:
                self.fail(error)
                raise
            if event is None:
                return False
            self.dispatch(event)
            return True

    async def aclose(self) -> None:
        """Stop the models that still run."""
        if not self.done:
            self.fail(asyncio.CancelledError())
        await self._chunks.aclose()


async def _generations(chunks: AsyncIterator[AIMessageChunk]) -> AsyncIterator[ChatGenerationChunk]:
    async for chunk in chunks:
        yield ChatGenerationChunk(message=chunk)
