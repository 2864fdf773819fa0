"""What a cascade is as a LangChain object: its parameters, and what it says about itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Self, cast

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.language_models import BaseChatModel, LangSmithParams, ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from pydantic import ConfigDict, PrivateAttr, SecretStr, SkipValidation, model_validator

import cascade_components as cc
from cascade_components.availability import able_models
from cascade_components.pricing import TokenPrice
from cascade_components.spending import SpendLimit
from langchain_cascade.capabilities import capabilities_of, needs_of, pool_profile
from langchain_cascade.conversation import QueryExtractor
from langchain_cascade.history import provider_of
from langchain_cascade.opening import Opening
from langchain_cascade.pool import Price, ServablePolicy, check_pool, check_priced, identity, token_prices
from langchain_cascade.request import Request
from langchain_cascade.settings import Settings
from langchain_cascade.tools import ChatRunnable, innermost

_KEPT_POLICIES = 16


class CascadeBase(BaseChatModel):
    """The parameters of `CascadeChatModel`, and its answers to questions about it."""

    policy: SkipValidation[ServablePolicy]
    models: SkipValidation[Mapping[str, ChatRunnable]]
    query: SkipValidation[QueryExtractor | None] = None
    sticky: Literal["loop", "thread"] | None = "loop"
    """Whether a conversation stays with its model: in a tool loop, also from turn to turn, or never."""
    release: Literal["judged", "early"] = "judged"
    """When a stream may show an answer that can be rejected: once it is judged, or once the estimator, reading along,
    is sure enough."""
    prices: SkipValidation[Mapping[str, Price] | None] = None
    """What a token of each model costs in USD; where none is given, what the policy's outcomes imply."""
    spend_limit: SkipValidation[SpendLimit | None] = None
    """A cap on what calls may cost."""

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
    """As in any chat model: whether `invoke` streams inside, so that callbacks hear tokens. Drafts never do."""

    _policy_folder: str | None = PrivateAttr(default=None)
    _policies: dict[tuple[str, str, float], ServablePolicy] = PrivateAttr(default_factory=dict)

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def __init__(
        self,
        *,
        policy: ServablePolicy | str | os.PathLike[str],
        models: Mapping[str, ChatRunnable],
        **kwargs: Any,
    ) -> None:
        found = cc.CascadePolicy.load(policy) if isinstance(policy, str | os.PathLike) else policy
        super().__init__(policy=found, models=dict(models), **kwargs)
        if found is not policy:
            self._policy_folder = os.fspath(cast("str", policy))

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_pool(self.models, self.policy)
        prices = self.token_prices
        if self.spend_limit is not None:
            check_priced(self.policy, prices)
        return self

    @property
    def policy_folder(self) -> str | None:
        """Where the policy was read from; None where it was given as an object."""
        return self._policy_folder

    @cached_property
    def token_prices(self) -> dict[str, TokenPrice]:
        """The prices that were given, by model."""
        return token_prices(self.prices, self.policy)

    @cached_property
    def opening(self) -> Opening:
        """Chooses the model that a call asks first."""
        return Opening(self.query, self.sticky, self.token_prices)

    @property
    def own_handlers(self) -> list[BaseCallbackHandler]:
        """The cascade's own callbacks, beside those of a call."""
        own = self.callbacks.handlers if isinstance(self.callbacks, BaseCallbackManager) else self.callbacks
        return list(own or ())

    def able_models(self, request: Request) -> frozenset[str]:
        """The models whose profile has what a call needs.

        Raises:
            ValueError: None has.
        """
        pool = {name: capabilities_of(model) for name, model in self.models.items()}
        counted = any(found.max_input_tokens is not None for found in pool.values())
        return able_models(needs_of(request, counted=counted), pool)

    def author_of(self, message: AIMessage) -> str | None:
        """The provider whose model wrote a message, by the cascade's trace; None where that does not tell."""
        trace = message.response_metadata.get("cascade")
        model = self.models.get(trace.get("model", "")) if isinstance(trace, dict) else None
        return None if model is None else provider_of(innermost(model))

    @property
    def _call_defaults(self) -> dict[str, Any]:
        """Call arguments for every wrapped model."""
        given = {name: getattr(self, name) for name in ("temperature", "max_tokens", "timeout", "stop")}
        return {name: value for name, value in given.items() if value is not None}

    def _policy_for(self, settings: Settings, thread: str | None) -> ServablePolicy:
        """The policy at the operating point of a call, cheaper near a spending limit; the last few are kept."""
        name, value = settings.target or ("cheaper", 0.0)
        pressure = self.spend_limit.pressure(thread) if self.spend_limit else 0.0
        if pressure > 0:
            name, value = "cheaper", pressure
        if (name, value) == ("cheaper", 0.0):
            return self.policy
        key = (self.policy.fingerprint, name, value)
        found = self._policies.get(key)
        if found is None:
            found = self.policy.cheaper(value) if name == "cheaper" else self.policy.at(**{name: value})
            if len(self._policies) >= _KEPT_POLICIES:
                oldest, *_ = list(self._policies)  # a copy, for other threads may add to it
                self._policies.pop(oldest, None)
            self._policies[key] = found
        return found

    @property
    def _llm_type(self) -> str:
        return "cascade"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return self.identity_of(self.policy)

    def identity_of(self, policy: ServablePolicy) -> dict[str, Any]:
        """What decides about an answer: the policy at an operating point, the models, and what they are told."""
        return {
            "class": type(self).__name__,
            "policy": policy.fingerprint,
            "models": {name: identity(model) for name, model in self.models.items()},
            **self._call_defaults,
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = "cascade"
        params.setdefault("ls_model_name", f"cascade-{self.policy.fingerprint}")
        return params

    def _resolve_model_profile(self) -> ModelProfile | None:
        return pool_profile(self.models, self.policy.last_resorts)

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
