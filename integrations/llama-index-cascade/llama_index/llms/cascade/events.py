"""What a cascade tells LlamaIndex's instrumentation, beside what its LLMs tell."""

from __future__ import annotations

from typing import Any

from llama_index.core.instrumentation.events import BaseEvent


class CascadeEndEvent(BaseEvent):
    """A cascade has answered; query engines and agents drop the response that says how.

    Example:
        >>> CascadeEndEvent(trace={"path": ["small"]}).trace["path"]
        ['small']
    """

    trace: dict[str, Any]
    """The response's `additional_kwargs["cascade"]`."""

    @classmethod
    def class_name(cls) -> str:
        """Name of the class, as LlamaIndex knows it."""
        return "CascadeEndEvent"
