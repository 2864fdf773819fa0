"""A chat model that answers at once. Runs in the peers' environments as well."""

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

_USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


class FakeChat(BaseChatModel):
    """Says always the same."""

    model_name: str
    reply: str = "a fine answer"

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:  # noqa: ARG002
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.reply, usage_metadata=_USAGE))])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return self._generate(messages)
