"""A cascade for LangChain's agents: each call of the agent's model goes through it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from threading import Lock
from typing import Any, cast, overload

from langchain_core.language_models import BaseChatModel

import cascade_components as cc
from cascade_components.serving.servable import ServablePolicy
from langchain_cascade.capabilities import profile_of
from langchain_cascade.chat_model import CascadeChatModel
from langchain_cascade.tools import ChatRunnable

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
    from langchain.chat_models import init_chat_model
except ImportError as error:
    msg = "CascadeMiddleware needs langchain, 1.4 or later: pip install langchain"
    raise ImportError(msg) from error

_KEPT_CASCADES = 16


class CascadeMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Routes and escalates each call of an agent's model by a policy.

    The agent gets a `CascadeChatModel` as its model, so all that holds for one holds in the agent: the trace is in
    each AI message's `response_metadata["cascade"]`, a tool loop stays with its model, a bad tool call is a weak
    answer, a rejected draft is in no stream, and one call has its own settings by
    `agent.invoke(input, {"configurable": {"cascade": {...}}})`.

    Its place among other middlewares: those before it in the list see the agent's own model, those after it see the
    cascade. What they put into `model_settings` reaches every model that is asked. So give this one the first place:
    middlewares for one provider's models then leave the request alone, and a `ModelFallbackMiddleware` takes over
    only when every model of the cascade has failed. Settings of one provider belong to its model:
    `models={"large": ChatAnthropic(...).bind(cache_control={"type": "ephemeral"})}`.

    A `response_format` without a strategy is asked for by the provider's own means only where every model's profile
    says `structured_output`, else by a tool call, which the cascade can check.

    Args:
        policy: A policy's folder, or a `CascadePolicy`.
        models: The policy's models, by name, as in `CascadeChatModel` or as strings for `init_chat_model`. One may be
            left out: it is then the agent's own model.
        cascade: Instead of these two, a cascade that is ready.
        kwargs: Further parameters of `CascadeChatModel`.

    Raises:
        ValueError: The models are not those of the policy, or a parameter is unknown or has no effect.

    Example:
        >>> middleware = CascadeMiddleware(policy="policy/", models={"small": small})     # doctest: +SKIP
        >>> agent = create_agent(large, tools=[search], middleware=[middleware])          # doctest: +SKIP
    """

    @overload
    def __init__(
        self,
        *,
        policy: ServablePolicy | str | os.PathLike[str],
        models: Mapping[str, ChatRunnable | str],
        **kwargs: Any,
    ) -> None: ...

    @overload
    def __init__(self, *, cascade: CascadeChatModel) -> None: ...

    def __init__(
        self,
        *,
        policy: ServablePolicy | str | os.PathLike[str] | None = None,
        models: Mapping[str, ChatRunnable | str] | None = None,
        cascade: CascadeChatModel | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self._lock = Lock()
        self._kept: dict[int, CascadeChatModel] = {}
        self._own: str | None = None
        if cascade is not None:
            if policy is not None or models is not None or kwargs:
                msg = "A ready cascade has its own policy, models and parameters: give cascade alone."
                raise ValueError(msg)
            self._ready = _for_agents(cascade)
            return
        if policy is None or models is None:
            msg = "CascadeMiddleware needs policy and models, or a ready cascade."
            raise ValueError(msg)
        found = cc.CascadePolicy.load(policy) if isinstance(policy, str | os.PathLike) else policy
        self._models = {name: init_chat_model(one) if isinstance(one, str) else one for name, one in models.items()}
        self._new = partial(CascadeChatModel, policy=found, **kwargs)
        missing = [name for name in found.models if name not in self._models]
        if self._models and len(missing) == 1:
            self._own = missing[0]
        # With a stand-in for the agent's own model, names and parameters are checked now, not in the first call.
        self._ready = self._built(next(iter(self._models.values()), None))

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Let the cascade answer."""
        return handler(request.override(model=self._cascade(request.model)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """`wrap_model_call`, async."""
        return await handler(request.override(model=self._cascade(request.model)))

    def _cascade(self, model: BaseChatModel) -> CascadeChatModel:
        """The cascade with the agent's own model in it; the last few used are kept, and so are those models."""
        if self._own is None:
            return self._ready
        with self._lock:
            found = self._kept.pop(id(model), None)
            self._kept[id(model)] = found = self._built(model) if found is None else found
            if len(self._kept) > _KEPT_CASCADES:
                self._kept.pop(next(iter(self._kept)))
        return found

    def _built(self, own: ChatRunnable | None) -> CascadeChatModel:
        models = self._models if self._own is None else {**self._models, self._own: own}
        return _for_agents(self._new(models=cast("Any", models)))


def _for_agents(cascade: CascadeChatModel) -> CascadeChatModel:
    """The cascade with structured output in its profile only where every model has it.

    An agent reads the profile to choose between a provider's own structured output and tool calls. The first fails
    on a model without it, where nothing but a tool call can be checked.
    """
    profiles = [profile_of(model) for model in cascade.models.values()]
    if not cascade.profile or all(profile.get("structured_output") for profile in profiles):
        return cascade
    return cascade.model_copy(update={"profile": {**cascade.profile, "structured_output": False}})
