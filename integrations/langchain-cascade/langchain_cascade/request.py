"""What a caller asked for: the same for every model that is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

from cascade_components.serving.settings import CallSettings
from langchain_cascade.tools import Schema, Tools


@dataclass(frozen=True)
class Request:
    """One call's wishes."""

    messages: list[BaseMessage]
    config: RunnableConfig
    """Without the cascade's own settings."""
    settings: CallSettings
    kwargs: Mapping[str, Any]
    """Call arguments, handed to each wrapped model."""
    tools: Tools | None = None
    schema: Schema | None = None
    live: bool = False
    """The caller reads the answer as it comes."""

    @property
    def response_format(self) -> Any:
        """The format of the answer, where a caller bound it for the provider, as LangChain's agents do."""
        bound = self.tools.kwargs if self.tools is not None else {}
        return self.kwargs.get("response_format") or bound.get("response_format")

    @property
    def shaped(self) -> bool:
        """Whether the answer has to have a form that checks can read: tool calls, or a structure."""
        return self.tools is not None or self.schema is not None or bool(self.response_format)

    @property
    def thread(self) -> str | None:
        """The conversation that the call belongs to."""
        found = (self.config.get("configurable") or {}).get("thread_id")
        return None if found is None else str(found)
