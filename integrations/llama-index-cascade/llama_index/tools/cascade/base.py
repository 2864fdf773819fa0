"""The cascade as a tool spec."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.llm import LLM
from llama_index.core.tools import FunctionTool, ToolMetadata
from llama_index.core.tools.tool_spec.base import SPEC_FUNCTION_TYPE, BaseToolSpec
from pydantic import ValidationError

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
from llama_index.llms.cascade import CascadeLLM


@dataclass(frozen=True)
class CascadeAnswer:
    """An answer, which is its text, and the cascade's trace."""

    text: str
    trace: Mapping[str, Any]

    def __str__(self) -> str:
        return self.text


class CascadeToolSpec(BaseToolSpec):
    """Lets an agent ask a cascade, and read what it would do with a question.

    The tools are `ask_cascade` and `explain_cascade`; an output's content is a text, its `raw_output` a
    `CascadeAnswer` with the trace, or an `Explanation`. What is routed is the question alone: its context goes before
    it, as a user message of its own.

    Args:
        policy: A policy's folder, or a `CascadePolicy`.
        models: The policy's models, by name, as in `CascadeLLM`.
        llm: Instead of these two, a cascade that is ready.
        kwargs: Further parameters of `CascadeLLM`.

    Raises:
        ValueError: The pool is not the policy's, or the policy was not made by `fit`.

    Example:
        >>> tools = CascadeToolSpec(policy="policy/", models=models).to_tool_list()     # doctest: +SKIP
        >>> agent = FunctionAgent(tools=tools, llm=OpenAI())                            # doctest: +SKIP
    """

    spec_functions = [("ask", "aask"), "explain"]  # noqa: RUF012 - the base class has it so

    def __init__(
        self,
        *,
        policy: cc.CascadePolicy | str | os.PathLike[str] | None = None,
        models: Mapping[str, LLM] | None = None,
        llm: CascadeLLM | None = None,
        **kwargs: Any,
    ) -> None:
        if llm is None:
            if policy is None or models is None:
                msg = "CascadeToolSpec needs policy and models, or a ready llm."
                raise ValueError(msg)
            llm = CascadeLLM(policy=policy, models=models, **kwargs)
        elif policy is not None or models is not None or kwargs:
            msg = "A ready cascade has its own policy, models and parameters: give llm alone."
            raise ValueError(msg)
        self.llm = llm
        self.policy = checked_policy(llm.policy)

    def ask(
        self, question: str, context: str | None = None, retention: float | None = None, budget: float | None = None
    ) -> CascadeAnswer:
        """Ask the cascade.

        Args:
            question: What is asked, on its own; it is what is routed.
            context: What is needed to answer it.
            retention: Share of the strongest model's accuracy to keep, for this question.
            budget: Instead: mean cost per query, in the unit of the policy's metric.

        Raises:
            ValueError: The question is empty, or the operating point cannot be had.
            RuntimeError: No model answered, or the spending limit is reached.
        """
        messages, settings = _checked(question, context, retention, budget)
        with _without_secrets():
            return _answer(self.llm.chat(messages, cascade=settings))

    async def aask(
        self, question: str, context: str | None = None, retention: float | None = None, budget: float | None = None
    ) -> CascadeAnswer:
        """`ask`, async."""
        messages, settings = _checked(question, context, retention, budget)
        with _without_secrets():
            return _answer(await self.llm.achat(messages, cascade=settings))

    def explain(self, question: str, retention: float | None = None, budget: float | None = None) -> cc.Explanation:
        """Say what the cascade would do with a question, and why; no model is asked.

        Args:
            question: What would be asked.
            retention: Share of the strongest model's accuracy to keep.
            budget: Instead: mean cost per query, in the unit of the policy's metric.

        Raises:
            ValueError: The question is empty, or the operating point cannot be had.
        """
        (asked,), target = _checked(question, None, retention, budget)
        return cc.explain(self.policy, asked.content or "", **target)

    def to_tool_list(
        self,
        spec_functions: list[SPEC_FUNCTION_TYPE] | None = None,
        func_to_metadata_mapping: dict[str, ToolMetadata] | None = None,
    ) -> list[FunctionTool]:
        """The tools, described by what the policy knows of models and costs.

        Args:
            spec_functions: Which of them; None: both.
            func_to_metadata_mapping: Other names and descriptions, by function.
        """
        ask = ToolMetadata(asking(self.policy), "ask_cascade", AskInput)
        explain = ToolMetadata(explaining(self.policy), "explain_cascade", ExplainInput)
        told = {"ask": ask, "aask": ask, "explain": explain, **(func_to_metadata_mapping or {})}
        return super().to_tool_list(spec_functions, told)


def _checked(question: Any, context: Any, retention: Any, budget: Any) -> tuple[list[ChatMessage], dict[str, float]]:
    """A call's messages and operating point; LlamaIndex hands over whatever an agent's LLM wrote."""
    try:
        given = AskInput(question=question, context=context, retention=retention, budget=budget)
    except ValidationError as error:
        raise ValueError(wrong_arguments(error)) from error
    asked = ChatMessage(checked_question(given.question))
    messages = [ChatMessage(context_text(given.context)), asked] if given.context else [asked]
    return messages, checked_target(given.retention, given.budget)


def _answer(response: ChatResponse) -> CascadeAnswer:
    return CascadeAnswer(response.message.content or "", response.additional_kwargs["cascade"])


@contextmanager
def _without_secrets() -> Iterator[None]:
    """Agents read the texts of errors, and those of other parties may hold secrets."""
    try:
        yield
    except cc.AllModelsFailed as error:
        raise RuntimeError(failure(error)) from error
