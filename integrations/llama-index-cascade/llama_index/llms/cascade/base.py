"""The cascade as one LlamaIndex LLM."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, Self, cast

from llama_index.core.base.llms.types import ChatMessage, LLMMetadata
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM
from pydantic import Field, PrivateAttr, SkipValidation

import cascade_components as cc
from cascade_components.availability import Capabilities, Needs, able_models
from cascade_components.serving.health import Health
from cascade_components.serving.resilience import Resilience
from cascade_components.serving.servable import Price, ServablePolicy, check_names, check_priced, token_prices
from cascade_components.serving.setup import Points, Release, Serving
from cascade_components.serving.turn import Turn
from cascade_components.spending import SpendLimit
from cascade_components.stickiness import Sticky
from llama_index.llms.cascade.conversation import (
    QueryExtractor,
    incumbent,
    last_user_text,
    roles_without_user,
    seen_calls,
    tokens_about,
    whole_text,
)
from llama_index.llms.cascade.request import Request
from llama_index.llms.cascade.serialization import models_from_dict, models_to_dict

_TOOLS = "_cascade_tools"
_REMEDY = (
    "Add a user message, give the cascade query= a function that takes the text from your messages, or name the model "
    'that is asked: chat(messages, cascade={"model": ...}).'
)


class CascadeBase(FunctionCallingLLM):
    """The parameters of `CascadeLLM`, and what it says about itself."""

    policy: SkipValidation[Any] = Field(exclude=True, repr=False)
    models: SkipValidation[dict[str, LLM]] = Field(exclude=True, repr=False)  # an LLM shows its key
    query: SkipValidation[QueryExtractor | None] = Field(default=None, exclude=True)
    sticky: Literal["loop", "thread"] | None = "loop"
    release: Literal["judged", "early"] = "judged"
    prices: SkipValidation[dict[str, Price] | None] = Field(default=None, exclude=True)
    spend_limit: SpendLimit | None = Field(default=None, exclude=True)
    resilience: Resilience = Field(default=Resilience())
    monitor: SkipValidation[cc.Monitor | None] = Field(default=None, exclude=True)
    shadow: SkipValidation[cc.Shadow | None] = Field(default=None, exclude=True)

    _policy_folder: str | None = PrivateAttr(default=None)
    _points: Points = PrivateAttr(default_factory=dict)
    _health: Health = PrivateAttr(default_factory=Health)

    def __init__(
        self,
        *,
        policy: ServablePolicy | str | os.PathLike[str],
        models: Mapping[str, LLM],
        query: QueryExtractor | None = None,
        sticky: Sticky | None = "loop",
        release: Release = "judged",
        prices: Mapping[str, Price] | None = None,
        spend_limit: SpendLimit | None = None,
        resilience: Resilience | None = None,
        monitor: cc.Monitor | None = None,
        shadow: cc.Shadow | None = None,
        **kwargs: Any,
    ) -> None:
        found = cc.CascadePolicy.load(policy) if isinstance(policy, str | os.PathLike) else policy
        _check(models, found)
        if unknown := sorted(set(kwargs) - set(type(self).model_fields)):
            msg = f"CascadeLLM has no parameter {', '.join(unknown)}."
            raise ValueError(msg)
        super().__init__(
            policy=found,
            models=dict(models),
            query=query,
            sticky=sticky,
            release=release,
            prices=None if prices is None else dict(prices),
            spend_limit=spend_limit,
            resilience=Resilience() if resilience is None else resilience,
            monitor=monitor,
            shadow=shadow,
            **kwargs,
        )
        if found is not policy:
            self._policy_folder = os.fspath(cast("str", policy))
        self.resilience.check_models(found.models)
        prices_known = self.serving.prices
        if spend_limit is not None:
            check_priced(found, prices_known)
        if "callback_manager" in kwargs:
            self._share(None)

    def __setattr__(self, name: str, value: Any) -> None:
        before = self.__dict__.get("callback_manager")
        super().__setattr__(name, value)
        if name == "callback_manager":  # LlamaIndex's settings set it again and again
            self._share(before)

    def _share(self, before: CallbackManager | None) -> None:
        """Give the callback manager to the wrapped LLMs that have the one before, or no handlers of their own."""
        common: tuple[list[Any], ...] = ([], CallbackManager().handlers)  # a new one has those of the settings
        for model in self.models.values():
            if model.callback_manager is before or model.callback_manager.handlers in common:
                model.callback_manager = self.callback_manager

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
            frozenset(name for name, model in self.models.items() if getattr(model, "max_retries", 0) != 0),
            self.monitor,
            self.shadow,
        )

    @property
    def health(self) -> Health:
        """What it has learnt about its models while it served."""
        return self._health

    # — what it says about itself —

    @classmethod
    def class_name(cls) -> str:
        """Name of the class, as LlamaIndex knows it."""
        return "CascadeLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What one of the last resorts can do, within the smallest of their limits.

        Last resorts are the models whose answer stands: they are asked when the others cannot answer.
        """
        last = [self.models[name].metadata for name in self.policy.last_resorts]
        return LLMMetadata(
            context_window=min(one.context_window for one in last),
            num_output=min((one.num_output for one in last if one.num_output >= 0), default=-1),  # -1: not known
            is_chat_model=True,
            is_function_calling_model=any(one.is_function_calling_model for one in last),
            model_name=f"cascade-{self.policy.fingerprint}",
        )

    def to_payload(self) -> dict[str, Any]:
        """What events and callbacks show of it; no secrets."""
        return {**super().to_payload(), "models": {name: one.class_name() for name, one in self.models.items()}}

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The cascade as data, without secrets.

        Left open is a model that LlamaIndex cannot load by its class, and a policy that did not come from a folder.
        """
        data = {"policy": self._policy_folder, "models": models_to_dict(self.models)}
        prices = None if self.prices is None else {name: vars(one) for name, one in self.serving.prices.items()}
        return {**super().to_dict(**kwargs), **data, "prices": prices}

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, models: Mapping[str, LLM] | None = None, **kwargs: Any) -> Self:
        """Make a cascade from what `to_dict` returned.

        Args:
            data: The data.
            models: Models that it leaves open, or that stand in for its own.
            kwargs: Parameters of `CascadeLLM`, instead of those in the data.

        Raises:
            ValueError: The policy or a model is neither in the data nor given.
        """
        if data["policy"] is None and "policy" not in kwargs:
            msg = "The data does not hold the policy: give it again, CascadeLLM.from_dict(data, policy=...)."
            raise ValueError(msg)
        known = {name: value for name, value in data.items() if name in cls.model_fields and name != "models"}
        prices = known.pop("prices", None)
        if prices is not None:
            known["prices"] = {name: cc.TokenPrice(**price) for name, price in prices.items()}
        return cls(**{**known, "models": models_from_dict(data["models"], models or {}), **kwargs})

    # — a call as the cascade sees it —

    def routed_text(self, messages: list[ChatMessage]) -> str:
        """The text of a conversation that is routed."""
        return (self.query or last_user_text)(messages)

    def turn_of(self, request: Request, text: str) -> Turn:
        """A call as the cascade sees it.

        Args:
            request: The call.
            text: What is routed of it.

        Raises:
            ValueError: There is nothing to answer, or no LLM has what the call needs.
        """
        messages, tools = request.messages, request.tools
        length = tokens_about(messages)
        needs = Needs(frozenset({frozenset({"tool_calling"})}) if tools else frozenset(), length)
        pool = {name: _capabilities(model) for name, model in self.models.items()}
        return Turn(
            text=text,
            whole="" if text.strip() else whole_text(messages),
            settings=request.settings,
            able=frozenset(self.models) if request.settings.model else able_models(needs, pool),
            last=incumbent(messages, self.policy.models) if self.sticky else None,
            roles=roles_without_user(messages),
            thread=request.thread,
            prompt_tokens=length,
            max_tokens=request.kwargs.get("max_tokens"),
            tools=tools.schemas if tools else None,
            must_call=tools is not None and tools.forced,
            made_calls=seen_calls(messages, self.models, self.policy.models[-1]),
            shaped=tools is not None,
            live=request.live,
        )


def _check(models: Mapping[str, Any], policy: ServablePolicy) -> None:
    check_names(models, policy)
    for name, model in models.items():
        if not isinstance(model, LLM):
            msg = f"{name} is no LlamaIndex LLM: found {type(model).__name__}."
            raise ValueError(msg)


def _capabilities(model: LLM) -> Capabilities:
    metadata = model.metadata
    lacking = frozenset() if metadata.is_function_calling_model else frozenset({"tool_calling"})
    return Capabilities(lacking, max_input_tokens=metadata.context_window)
