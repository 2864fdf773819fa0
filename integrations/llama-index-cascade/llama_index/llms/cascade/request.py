"""What a caller asked for: the same for every LLM that is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import BaseTool

from cascade_components.serving.settings import CallSettings


@dataclass(frozen=True)
class RawTools:
    """Tools as the caller gave them, until a wrapped LLM formats them."""

    tools: tuple[BaseTool, ...]
    required: bool = False
    parallel: bool = False
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """What else the wrapped LLMs' own `chat_with_tools` know, such as `tool_choice`."""

    @property
    def structured(self) -> bool:
        """Whether LlamaIndex makes an object of the call: its programs give a `tool_choice`, None by default."""
        return self.kwargs.get("tool_choice", "") is None

    @property
    def forced(self) -> bool:
        """Whether the LLM has to call a tool."""
        return self.required or self.structured or self.kwargs.get("tool_choice", "auto") not in ("auto", "none")

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """JSON schema of each tool's arguments."""
        return {str(tool.metadata.name): tool.metadata.get_parameters_dict() for tool in self.tools}


@dataclass(frozen=True)
class Request:
    """One call's wishes."""

    messages: list[ChatMessage]
    settings: CallSettings
    kwargs: Mapping[str, Any]
    """Call arguments, handed to each wrapped LLM."""
    tools: RawTools | None = None
    thread: str | None = None
    """The conversation that the call belongs to."""
    live: bool = False
    """The caller reads the answer as it comes."""


def conversation(user_msg: str | ChatMessage | None, history: Sequence[ChatMessage] | None) -> list[ChatMessage]:
    """The messages that LlamaIndex hands over in two parts."""
    asked = [] if user_msg is None else [ChatMessage(user_msg) if isinstance(user_msg, str) else user_msg]
    return [*(history or ()), *asked]
