"""Batches of calls: what is routed of them is embedded in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig

from cascade_components.deciding import decide
from langchain_cascade.base import CascadeBase


class BatchedCascade(CascadeBase):
    """A cascade that knows the texts of a whole batch before its calls begin."""

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """`invoke` for each input, at the same time; their texts are embedded in one go."""
        self._embed(inputs)
        return super().batch(inputs, config, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """`batch`, async."""
        await decide(self._embed, inputs)
        return await super().abatch(inputs, config, return_exceptions=return_exceptions, **kwargs)

    def _embed(self, inputs: Sequence[LanguageModelInput]) -> None:
        """Put the vectors of all the texts that are routed into the policy's cache, where it has one."""
        encoder = getattr(self.policy, "encoder", None)
        if encoder is None or len(inputs) < 2:
            return
        try:
            texts = dict.fromkeys(self.routed_text(self._convert_input(one).to_messages()) for one in inputs)
            encoder([text for text in texts if text.strip()][: encoder.size])
        except Exception:  # noqa: S110 - whatever is wrong with one of them, its own call raises
            pass
