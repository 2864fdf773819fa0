"""What a cascade is as a LangChain object: its parameters, and what it says about itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, cast

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.language_models import BaseChatModel, LangSmithParams, ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from pydantic import ConfigDict, PrivateAttr, SecretStr, SkipValidation, field_serializer, model_validator

import cascade_components as cc
from cascade_components.availability import Capabilities, Needs, able_models
from cascade_components.serving.health import Health
from cascade_components.serving.resilience import Resilience
from cascade_components.serving.servable import Price, ServablePolicy, check_priced, token_prices
from cascade_components.serving.setup import Points, Serving
from cascade_components.serving.turn import Turn
from cascade_components.spending import SpendLimit
from langchain_cascade.capabilities import capabilities_of, features_needed, pool_profile, prompt_tokens
from langchain_cascade.conversation import (
    QueryExtractor,
    incumbent,
    last_human_text,
    roles_without_human,
    whole_text,
)
from langchain_cascade.history import provider_of, seen_calls
from langchain_cascade.pool import check_pool, identity
from langchain_cascade.request import Request
from langchain_cascade.tools import ChatRunnable, innermost
from langchain_cascade.wrapped import retries

_REMEDY = (
    "Add a HumanMessage, give the cascade query= a function that takes the text from your messages, or name the model "
    'that is asked: config={"configurable": {"cascade": {"model": ...}}}.'
)


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
    resilience: Resilience = Resilience()
    """What it does about models that are slow, fail, or are out."""
    monitor: SkipValidation[cc.Monitor | None] = None
    """Hears how each call ended, and says when calls drift from what the policy expects."""
    shadow: SkipValidation[cc.Shadow | None] = None
    """Asks the target about a share of the accepted answers, too, off the caller's path. What that costs is in no
    trace, and counts against no `spend_limit`."""

    temperature: float | None = None
    """Handed to every wrapped call; None: each model keeps its own."""
    max_tokens: int | None = None
    """Handed to every wrapped call, in tokens; None: each model keeps its own."""
    timeout: float | None = None
    """Handed to every wrapped call, in seconds; None: each model keeps its own. What the cascade itself waits for a
    model is `resilience`'s."""
    stop: list[str] | None = None
    """Handed to every wrapped call; None: each model keeps its own."""
    max_retries: int | None = None
    """Accepted, as by any chat model, without effect: the wrapped models have their own clients."""
    api_key: SecretStr | None = None
    """Accepted, as by any chat model, without effect: the wrapped models have their own clients."""
    streaming: bool | None = None
    """As in any chat model: whether `invoke` streams inside, so that callbacks hear tokens. Drafts never do."""

    _policy_folder: str | None = PrivateAttr(default=None)
    _points: Points = PrivateAttr(default_factory=dict)
    _health: Health = PrivateAttr(default_factory=Health)

    # An input that is shown could hold a wrapped model's key.
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True)

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

    @field_serializer("models")
    def _without_secrets(self, models: Mapping[str, ChatRunnable]) -> dict[str, str]:
        return {name: type(found).__name__ for name, found in models.items()}

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_pool(self.models, self.policy)
        prices = token_prices(self.prices, self.policy)
        if self.spend_limit is not None:
            check_priced(self.policy, prices)
        self.resilience.check_models(self.policy.models)
        return self

    @property
    def policy_folder(self) -> str | None:
        """Where the policy was read from; None where it was given as an object."""
        return self._policy_folder

    @property
    def serving(self) -> Serving:
        """How it serves, by its parameters as they are now."""
        return Serving(
            self.policy,
            token_prices(self.prices, self.policy),
            self.spend_limit,
            self.sticky,
            self.release,
            _REMEDY,
            self._points,
            self.resilience,
            self._health,
            frozenset(name for name, model in self.models.items() if self.resilience.retries and retries(model)),
            self.monitor,
            self.shadow,
        )

    @property
    def health(self) -> Health:
        """What it has learnt about its models while it served."""
        return self._health

    @property
    def own_handlers(self) -> list[BaseCallbackHandler]:
        """The cascade's own callbacks, beside those of a call."""
        own = self.callbacks.handlers if isinstance(self.callbacks, BaseCallbackManager) else self.callbacks
        return list(own or ())

    def routed_text(self, messages: list[BaseMessage]) -> str:
        """The text of a conversation that is routed."""
        return (self.query or last_human_text)(messages)

    def turn_of(self, request: Request, text: str) -> Turn:
        """A call as the cascade sees it.

        Args:
            request: The call.
            text: What is routed of it.

        Raises:
            ValueError: There is nothing to answer, or no model has what the call needs.
        """
        messages, tools = request.messages, request.tools
        pool = {name: capabilities_of(model) for name, model in self.models.items()}
        counted = self.spend_limit is not None or any(found.max_input_tokens is not None for found in pool.values())
        length = prompt_tokens(messages, tools) if counted else 0
        return Turn(
            text=text,
            whole="" if text.strip() else whole_text(messages),
            settings=request.settings,
            able=self._able(request, pool, length),
            last=incumbent(messages, self.policy.models, counted=self.sticky == "thread") if self.sticky else None,
            roles=roles_without_human(messages),
            thread=request.thread,
            prompt_tokens=length,
            max_tokens=request.kwargs.get("max_tokens"),
            tools=tools.schemas if tools else None,
            must_call=tools is not None and tools.forced,
            made_calls=seen_calls(messages),
            shaped=request.shaped,
            live=request.live,
        )

    def _able(self, request: Request, pool: Mapping[str, Capabilities], length: int) -> frozenset[str]:
        if request.settings.model is not None:
            return frozenset(self.policy.models)  # named by the caller, who knows
        return able_models(Needs(features_needed(request), length), pool)

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
