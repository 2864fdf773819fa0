"""Structured output through the cascade: an answer that does not parse is a weak one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_cascade.call import Call
from langchain_cascade.driver import arun, run


class StructuredCascade(Runnable[LanguageModelInput, Any]):
    """What `CascadeChatModel.with_structured_output` returns."""

    def __init__(self, new_call: Callable[..., Call], *, include_raw: bool) -> None:
        self._new_call = new_call
        self._include_raw = include_raw

    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Answer in the schema's shape.

        Raises:
            Exception: The parsing error of the last answer, unless `include_raw`.
        """
        call = self._new_call(input, config, **kwargs)
        deque(run(call), maxlen=0)
        return self._shape(call)

    async def ainvoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """`invoke`, async."""
        call = self._new_call(input, config, **kwargs)
        async for _ in arun(call):
            pass
        return self._shape(call)

    def _shape(self, call: Call) -> Any:
        answer = call.accepted
        if self._include_raw:
            return {"raw": call.message, "parsed": answer.parsed, "parsing_error": answer.parsing_error}
        if answer.parsing_error is not None:
            raise answer.parsing_error
        return answer.parsed
