"""Backends of the conformance suite over scripted LLMs."""

import asyncio

from llama_index.core.base.llms.types import ImageBlock

from .contract import CONCURRENCY, PATIENCE_S, Behaviour, Request
from .doubles import ScriptedLLM


def request_of(call):
    """One of `ScriptedLLM.calls` as the conformance suite has it."""
    messages = call["messages"]
    return Request(
        roles=tuple(message.role.value for message in messages),
        texts=tuple(message.content or "" for message in messages),
        options={name: value for name, value in call.items() if name != "messages"},
        images=sum(isinstance(block, ImageBlock) for message in messages for block in message.blocks),
    )


class ScriptedBackend:
    """Makes scripted LLMs of one class; `llms` are those it made, `secret` is their key."""

    def __init__(self, secret=None, kind=ScriptedLLM):
        self.llms = []
        self.kind = kind
        self.secret = secret
        self._full = asyncio.Event()

    @property
    def requests(self):
        return [request_of(call) for llm in self.llms for call in llm.calls]

    @property
    def peak(self):
        return max((llm.peak for llm in self.llms), default=0)

    def fields(self, behaviour):
        """The fields of a scripted LLM that behaves like that."""
        fields = {
            Behaviour.RELUCTANT: {"calls_tools": "required"},
            Behaviour.EAGER: {"calls_all_tools": True},
            Behaviour.FAILS: {"reply": ConnectionError("out of order")},
            Behaviour.BREAKS: {"breaks_after": 2},
            Behaviour.WAITS: {"delay": self._until_full},
        }
        return {"api_key": self.secret, **fields.get(behaviour, {})}

    async def _until_full(self):
        if self.peak >= CONCURRENCY:
            self._full.set()
        async with asyncio.timeout(PATIENCE_S):
            await self._full.wait()

    def make(self, behaviour=Behaviour.ANSWERS, **fields):
        self.llms.append(self.kind(**{**self.fields(behaviour), **fields}))
        return self.llms[-1]
