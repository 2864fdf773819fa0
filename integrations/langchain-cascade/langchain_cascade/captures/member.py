"""A model of the pool that is captured, and how it may be asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, convert_to_messages

from cascade_components.grading import Question
from cascade_components.pricing import TokenPrice
from langchain_cascade.captures.measuring import Measured


@dataclass(frozen=True)
class Member:
    """One chat model with its price and its limits."""

    name: str
    model: BaseChatModel
    price: TokenPrice | None = None
    concurrency: int = 4
    """Calls at the same time, at most."""
    requests_per_minute: float | None = None
    retries: int = 3
    """How often a call that failed for a passing reason is made again."""
    timeout_s: float = 300.0
    """For one whole answer."""
    system: str | None = None
    key_name: str | None = None
    """The environment variable that its key came from."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What must not be shown, even where the provider quotes it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What decides its answers: provider, name, sampling; not where it is served. No secrets."""
    on_this_machine: bool = False
    """Whether it runs in this process. Such models are asked one at a time, all together, or each would measure the
    others; and a first call that is not measured loads them."""
    longest_answer: int | None = None
    """Output tokens that it may give at most, where that is set."""

    @property
    def fingerprint(self) -> str:
        """Tells settings apart, without showing them."""
        text = json.dumps([self.settings, self.system], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def prompt(self, question: Question) -> list[BaseMessage]:
        """What it is asked."""
        system = [SystemMessage(self.system)] if self.system else []
        if question.messages:
            return [*system, *convert_to_messages([dict(message) for message in question.messages])]
        return [*system, HumanMessage(question.text)]

    def cost_usd(self, measured: Measured) -> float | None:
        """What an answer cost; None: price or tokens are unknown."""
        if self.price is None or measured.input_tokens is None or measured.output_tokens is None:
            return None
        return self.price.cost_usd(
            measured.input_tokens,
            measured.output_tokens,
            cache_read=measured.cache_read or 0,
            cache_creation=measured.cache_creation or 0,
        )

    def shown(self, text: str) -> str:
        """A text without this member's secrets, in one line."""
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return " ".join(text.split())
