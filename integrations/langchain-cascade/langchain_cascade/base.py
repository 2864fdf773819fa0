"""What a cascade is as a LangChain object: its parameters, and what it says about itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from langchain_core.language_models import BaseChatModel, LangSmithParams, ModelProfile
from langchain_core.messages import BaseMessage
from pydantic import ConfigDict, PrivateAttr, SecretStr, SkipValidation, model_validator

import cascade_components as cc
from langchain_cascade.messages import QueryExtractor
from langchain_cascade.pool import ServablePolicy, check_pool, identity, pool_profile
from langchain_cascade.settings import Settings
from langchain_cascade.tools import ChatRunnable, innermost

_KEPT_POLICIES = 16


class CascadeBase(BaseChatModel):
    """The parameters of `CascadeChatModel`, and its answers to questions about it."""

    policy: SkipValidation[ServablePolicy]
    models: SkipValidation[Mapping[str, ChatRunnable]]
    query: SkipValidation[QueryExtractor | None] = None

    temperature: float | None = None
    """Handed to every wrapped call; None: each model keeps its own."""
    max_tokens: int | None = None
    """Handed to every wrapped call, in tokens; None: each model keeps its own."""
    timeout: float | None = None
    """Handed to every wrapped call, in seconds; None: each model keeps its own."""
    stop: list[str] | None = None
    """Handed to every wrapped call; None: each model keeps its own."""
    max_retries: int | None = None
    """Accepted, as by any chat model, without effect: the wrapped models have their own clients."""
    api_key: SecretStr | None = None
    """Accepted, as by any chat model, without effect: the wrapped models have their own clients."""
    streaming: bool | None = None
    """Accepted, as by any chat model, without effect: `stream` streams and `invoke` does not."""

    _policies: dict[tuple[str, str, float], ServablePolicy] = PrivateAttr(default_factory=dict)

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def __init__(
        self,
        *,
        policy: ServablePolicy | str | os.PathLike[str],
        models: Mapping[str, ChatRunnable],
        query: QueryExtractor | None = None,
        **kwargs: Any,
    ) -> None:
        found = cc.CascadePolicy.load(policy) if isinstance(policy, str | os.PathLike) else policy
        super().__init__(policy=found, models=dict(models), query=query, **kwargs)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_pool(self.models, self.policy)
        for name, given in {"cache": self.cache, "rate_limiter": self.rate_limiter}.items():
            if given:
                msg = f"{name} has no effect on a cascade: give it to the wrapped models."
                raise ValueError(msg)
        return self

    @property
    def _call_defaults(self) -> dict[str, Any]:
        """Call arguments for every wrapped model."""
        given = {name: getattr(self, name) for name in ("temperature", "max_tokens", "timeout", "stop")}
        return {name: value for name, value in given.items() if value is not None}

    def _policy_for(self, settings: Settings) -> ServablePolicy:
        """The policy at the operating point of a call; the last few are kept."""
        if settings.target is None:
            return self.policy
        name, value = settings.target
        key = (self.policy.fingerprint, name, value)
        found = self._policies.get(key)
        if found is None:
            found = self.policy.at(**{name: value})
            if len(self._policies) >= _KEPT_POLICIES:
                self._policies.pop(next(iter(self._policies)), None)
            self._policies[key] = found
        return found

    @property
    def _llm_type(self) -> str:
        return "cascade"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        models = {name: identity(model) for name, model in self.models.items()}
        return {
            "class": type(self).__name__,
            "policy": self.policy.fingerprint,
            "models": models,
            **self._call_defaults,
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "cascade"
        params.setdefault("ls_model_name", f"cascade-{self.policy.fingerprint}")
        return params

    def _resolve_model_profile(self) -> ModelProfile | None:
        return pool_profile(self.models, self.policy.models[-1])

    @property
    def _counting(self) -> Any:
        """Who counts tokens: the strongest model."""
        return innermost(self.models[self.policy.models[-1]])

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of a text, as the strongest model counts."""
        if self.custom_get_token_ids is not None:
            return super().get_token_ids(text)
        return cast("list[int]", self._counting.get_token_ids(text))

    def get_num_tokens(self, text: str) -> int:
        """Tokens in a text, as the strongest model counts."""
        if self.custom_get_token_ids is not None:
            return super().get_num_tokens(text)
        return cast("int", self._counting.get_num_tokens(text))

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Tokens in a conversation, as the strongest model counts."""
        if self.custom_get_token_ids is not None:
            return super().get_num_tokens_from_messages(messages, tools)
        return cast("int", self._counting.get_num_tokens_from_messages(messages, tools))

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return [("policy", self.policy.fingerprint), ("models", list(self.policy.models))]
