"""One answer, streamed: what it says, when its tokens came, and how many they were."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

from langchain_cascade.answers import answer_of
from langchain_cascade.usage import usage_of


@dataclass(frozen=True)
class Measured:
    """What one call gave; None: not known."""

    output: str
    input_tokens: int | None
    output_tokens: int | None
    cache_read: int | None
    """Of the input tokens, those that the provider had in its prompt cache."""
    cache_creation: int | None
    ttft_ms: float
    """Time to the first token that is shown, or to the end where none is."""
    tpot_ms: float | None
    """Time per output token after the first."""
    e2el_ms: float
    finish_reason: str | None
    token_logprobs: tuple[float, ...] | None
    token_margins: tuple[float, ...] | None


def measure(model: BaseChatModel, prompt: str | Sequence[BaseMessage], name: str) -> Measured:
    """Ask a model, and read its stream.

    Raises:
        Exception: Whatever the model raises.
    """
    reading = _Reading()
    for chunk in model.stream(prompt):
        reading.add(chunk)
    return reading.measured(name)


async def ameasure(model: BaseChatModel, prompt: str | Sequence[BaseMessage], name: str) -> Measured:
    """The same, beside other calls."""
    reading = _Reading()
    async for chunk in model.astream(prompt):
        reading.add(chunk)
    return reading.measured(name)


class _Reading:
    def __init__(self) -> None:
        self._whole: Any = None
        self._first: float | None = None
        self._started = time.perf_counter()

    def add(self, chunk: Any) -> None:
        if self._first is None and (chunk.text or getattr(chunk, "tool_call_chunks", None)):
            self._first = time.perf_counter()
        self._whole = chunk if self._whole is None else self._whole + chunk

    def measured(self, name: str) -> Measured:
        ended = time.perf_counter()
        message = self._whole if isinstance(self._whole, AIMessageChunk) else AIMessage("")
        answer, usage = answer_of(message, name), usage_of(message.usage_metadata)
        ttft, e2el = 1000 * ((self._first or ended) - self._started), 1000 * (ended - self._started)
        tokens = answer.output_tokens
        return Measured(
            output=answer.text,
            input_tokens=None if usage is None else usage.input_tokens,
            output_tokens=tokens,
            cache_read=None if usage is None else usage.cache_read,
            cache_creation=None if usage is None else usage.cache_creation,
            ttft_ms=round(ttft, 3),
            tpot_ms=None if tokens is None else round((e2el - ttft) / max(1, tokens - 1), 3),
            e2el_ms=round(e2el, 3),
            finish_reason=answer.finish_reason,
            token_logprobs=answer.token_logprobs,
            token_margins=answer.token_margins,
        )
