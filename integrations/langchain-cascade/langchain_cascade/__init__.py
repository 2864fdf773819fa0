"""A cascade of chat models as one LangChain chat model.

model = CascadeChatModel(policy="policy/", models={"small": ChatOpenAI(...), "large": ChatAnthropic(...)})
message = model.invoke("What is 2 + 2?")
message.response_metadata["cascade"]["path"]
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from cascade_components.lazy import loaded_when_used

if find_spec("langchain_core") is None:
    msg = 'langchain_cascade needs langchain-core: pip install "cascade-components[langchain]"'
    raise ImportError(msg)

if TYPE_CHECKING:
    from langchain_cascade.agent_tool import CascadeTool, ExplainTool
    from langchain_cascade.capturing import capture
    from langchain_cascade.chat_model import CascadeChatModel
    from langchain_cascade.decisions import CascadeDecisionModel
    from langchain_cascade.history import sanitize_history
    from langchain_cascade.middleware import CascadeMiddleware

_HOMES = {
    "CascadeChatModel": "chat_model",
    "CascadeDecisionModel": "decisions",
    "CascadeMiddleware": "middleware",
    "CascadeTool": "agent_tool",
    "ExplainTool": "agent_tool",
    "capture": "capturing",
    "sanitize_history": "history",
}
"""Loaded when first used: LangChain takes most of a second. Decisions need langchain-core from 1.8 on, middleware
langchain."""

__all__ = [
    "CascadeChatModel",
    "CascadeDecisionModel",
    "CascadeMiddleware",
    "CascadeTool",
    "ExplainTool",
    "capture",
    "sanitize_history",
]

__getattr__, __dir__ = loaded_when_used(__name__, _HOMES)
