"""A cascade as a tool, for agents that have a model of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import patch_config
from langchain_core.tools import ArgsSchema, BaseTool, ToolException
from pydantic import Field, PrivateAttr, SkipValidation

import cascade_components as cc
from cascade_components.asking import (
    AskInput,
    ExplainInput,
    asking,
    checked_policy,
    checked_question,
    checked_target,
    context_text,
    explaining,
    failure,
    wrong_arguments,
)
from cascade_components.serving.settings import TARGETS
from langchain_cascade.chat_model import CascadeChatModel


class _PolicyTool(BaseTool):
    """What both tools have in common: errors are answers that the agent can read."""

    description: str = ""
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: bool | str | Callable[[ToolException], Any] | None = True
    """As in any tool; False: a `ToolException` is raised."""
    handle_validation_error: bool | str | Callable[[Any], str] | None = wrong_arguments
    """As in any tool; False: a `ValidationError` is raised."""


class CascadeTool(_PolicyTool):
    """Lets an agent ask a cascade.

    What is routed is the question alone: its context goes before it, as a human message of its own.

    The message's content is the answer, its artifact the cascade's trace. Wrapped calls nest under the tool's run,
    and the config's own settings (`configurable`) hold, except for an operating point that the call names itself.

    Args:
        policy: A policy's folder, or a `CascadePolicy`.
        models: The policy's models, by name, as in `CascadeChatModel`.
        cascade: Instead of these two, a cascade that is ready.
        kwargs: Parameters of a tool (`name`, `description`, `return_direct`, `tags`, …); what a tool does not have
            goes to `CascadeChatModel` (`prices`, `spend_limit`, `max_tokens`, …).

    Raises:
        ValueError: The pool is not the policy's, or a parameter is unknown.

    Example:
        >>> tool = CascadeTool(policy="policy/", models={"small": small, "large": large})  # doctest: +SKIP
        >>> agent = create_agent("openai:gpt-4o", tools=[tool])                            # doctest: +SKIP
    """

    name: str = "ask_cascade"
    args_schema: Annotated[ArgsSchema | None, SkipValidation()] = AskInput
    cascade: CascadeChatModel = Field(repr=False)

    def __init__(
        self,
        *,
        policy: cc.CascadePolicy | str | os.PathLike[str] | None = None,
        models: Mapping[str, Any] | None = None,
        cascade: CascadeChatModel | None = None,
        **kwargs: Any,
    ) -> None:
        own = {name: kwargs.pop(name) for name in list(kwargs) if name in type(self).model_fields}
        if cascade is None:
            if policy is None or models is None:
                msg = "CascadeTool needs policy and models, or a ready cascade."
                raise ValueError(msg)
            cascade = CascadeChatModel(policy=policy, models=models, **kwargs)
        elif policy is not None or models is not None or kwargs:
            msg = "A ready cascade has its own policy, models and parameters: give cascade alone."
            raise ValueError(msg)
        super().__init__(**{"description": asking(cascade.policy), **own, "cascade": cascade})

    def _run(
        self,
        question: str,
        context: str | None = None,
        retention: float | None = None,
        budget: float | None = None,
        *,
        config: RunnableConfig,
        run_manager: CallbackManagerForToolRun | None = None,
    ) -> tuple[str, dict[str, Any]]:
        with _told_to_the_agent():
            messages, settings = _conversation(question, context), checked_target(retention, budget)
            return _answer(self.cascade.invoke(messages, _child(config, run_manager, settings)))

    async def _arun(
        self,
        question: str,
        context: str | None = None,
        retention: float | None = None,
        budget: float | None = None,
        *,
        config: RunnableConfig,
        run_manager: AsyncCallbackManagerForToolRun | None = None,
    ) -> tuple[str, dict[str, Any]]:
        with _told_to_the_agent():
            messages, settings = _conversation(question, context), checked_target(retention, budget)
            return _answer(await self.cascade.ainvoke(messages, _child(config, run_manager, settings)))


class ExplainTool(_PolicyTool):
    """Tells an agent what the cascade would do with a question, and why; no model is asked.

    The message's content is the explanation as a text, its artifact the same as data.

    Args:
        policy: A policy's folder, or a `CascadePolicy`.
        cascade: Instead, a cascade with such a policy.
        kwargs: Parameters of a tool (`name`, `description`, …).

    Raises:
        ValueError: Neither or both are given, or the policy was not made by `fit`.

    Example:
        >>> print(ExplainTool(policy="policy/").invoke({"question": "What is 2 + 2?"}))     # doctest: +SKIP
    """

    name: str = "explain_cascade"
    args_schema: Annotated[ArgsSchema | None, SkipValidation()] = ExplainInput
    _policy: cc.CascadePolicy = PrivateAttr()

    def __init__(
        self,
        *,
        policy: cc.CascadePolicy | str | os.PathLike[str] | None = None,
        cascade: CascadeChatModel | None = None,
        **kwargs: Any,
    ) -> None:
        if (policy is None) == (cascade is None):
            msg = "ExplainTool needs a policy, or a cascade that has one."
            raise ValueError(msg)
        found: Any = policy if cascade is None else cascade.policy
        found = checked_policy(cc.CascadePolicy.load(found) if isinstance(found, str | os.PathLike) else found)
        super().__init__(**{"description": explaining(found), **kwargs})
        self._policy = found

    @property
    def policy(self) -> cc.CascadePolicy:
        """The policy that is explained."""
        return self._policy

    def _run(
        self, question: str, retention: float | None = None, budget: float | None = None
    ) -> tuple[str, dict[str, Any]]:
        with _told_to_the_agent():
            found = cc.explain(self.policy, checked_question(question), **checked_target(retention, budget))
        return str(found), found.to_dict()


def _conversation(question: str, context: str | None) -> list[BaseMessage]:
    asked = HumanMessage(checked_question(question))
    return [HumanMessage(context_text(context)), asked] if context else [asked]


def _child(
    config: RunnableConfig,
    run_manager: CallbackManagerForToolRun | AsyncCallbackManagerForToolRun | None,
    target: Mapping[str, float],
) -> RunnableConfig:
    """The config of the cascade's call: below the tool's run, at the operating point that was asked for."""
    found = ensure_config(config)
    if run_manager is not None:
        found = patch_config(found, callbacks=run_manager.get_child())
    if not target:
        return found
    settings = found["configurable"].get("cascade") or {}
    kept = {name: value for name, value in settings.items() if name not in TARGETS}
    return patch_config(found, configurable={"cascade": {**kept, **target}})


def _answer(message: AIMessage) -> tuple[str, dict[str, Any]]:
    return str(message.text), message.response_metadata["cascade"]


@contextmanager
def _told_to_the_agent() -> Iterator[None]:
    """Make what went wrong a `ToolException`.

    Errors of wrapped models come as `AllModelsFailed`, so a `ValueError` is the cascade's own, about the call.
    """
    try:
        yield
    except cc.AllModelsFailed as error:
        raise ToolException(failure(error)) from error
    except (ValueError, cc.SpendLimitError) as error:
        raise ToolException(str(error)) from error
