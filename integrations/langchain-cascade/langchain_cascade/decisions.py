"""A policy as LangChain's decision model: its router and estimators answer typed questions; no model is called."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from pydantic import ConfigDict, GetPydanticSchema, SkipValidation
from pydantic_core import core_schema

import cascade_components as cc
from cascade_components.arrays import Floats, nan_mean
from cascade_components.cascade import QualityEstimator
from cascade_components.quality.calibrated import gate_scores
from langchain_cascade.answers import answer_of
from langchain_cascade.conversation import QueryExtractor, last_human_text, whole_text

try:
    from langchain_core.decisions import (
        BaseDecisionModel,
        Choice,
        ChoiceAnswer,
        ClassifierResponse,
        Noul,
        NoulAnswer,
        Question,
        Score,
        ScoreAnswer,
        State,
    )
except ImportError as error:
    msg = 'CascadeDecisionModel needs decision models: pip install "langchain-core>=1.8"'
    raise ImportError(msg) from error


class CascadeDecisionModel(BaseDecisionModel):
    """Answers which model should be asked, and how likely an answer is correct; no model is called for it.

    The state is a text, a message, messages, or a mapping with `messages`. The words of a question are not read:
    its kind says what is asked.

    A `Choice` between models of the policy (its criteria's keys; any number of them) asks who should answer:
    - `choice` is the model that the policy asks first. Whoever uses it alone does without the gates of the policy's
      plans: `fit(quality=None)` makes a policy that plans without them.
    - `probabilities` say who was the right one to ask, on the training queries of the query's cluster: the cheapest
      model that was correct, or the cheapest of all where none was. The choice weighs accuracy against cost at the
      policy's operating point, so it need not be the likeliest.
    - `confidence` is the chosen model's expected accuracy in the cluster.
    For a query out of the map, both are those of all training queries.

    A `Noul` asks whether the answer that ends the state is good: P(correct), by the estimator of the model that
    wrote it; 0 where a check fails (empty, truncated, refused).

    A `Score` asks the same on a rubric: its first level stands for a wrong answer, its last for a correct one, and
    nothing lies between. `confidence` is the likelier one's probability.

    Args:
        policy: A policy's folder, or a `CascadePolicy`.
        answered_by: The model that wrote the answers, by its name in the policy; needed where they are not a
            cascade's own, which say it themselves.
        query: Takes the text that is routed from the messages; by default, the last human turn's. Use the one that
            the policy was fitted with.
        kwargs: `model`, the name in traces.

    Raises:
        ValueError: On a call, if a question is none of these, or the state does not hold what it asks about.

    Example:
        >>> classifier = CascadeDecisionModel(policy="policy/")                                    # doctest: +SKIP
        >>> ModelRouterMiddleware(choices=choices, instructions="Who?", classifier=classifier)     # doctest: +SKIP
    """

    policy: Annotated[cc.CascadePolicy, GetPydanticSchema(lambda *_: core_schema.any_schema())]
    answered_by: str | None = None
    query: SkipValidation[QueryExtractor] = last_human_text

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def __init__(
        self,
        *,
        policy: cc.CascadePolicy | str | os.PathLike[str],
        answered_by: str | None = None,
        query: QueryExtractor = last_human_text,
        **kwargs: Any,
    ) -> None:
        found = cc.CascadePolicy.load(policy) if isinstance(policy, str | os.PathLike) else policy
        given = {"model": f"cascade-{found.fingerprint}", **kwargs}
        super().__init__(policy=found, answered_by=answered_by, query=query, **given)
        if answered_by is not None:
            self._estimator(answered_by)

    @property
    def _provider(self) -> str:
        return "cascade"

    def _classify(self, state: State, questions: dict[str, Question]) -> ClassifierResponse:
        messages = _messages(state)
        answers = {name: self._answer(name, question, messages) for name, question in questions.items()}
        return ClassifierResponse(model=self.model, answers=answers)

    def _answer(
        self, name: str, question: Question, messages: list[BaseMessage]
    ) -> ChoiceAnswer | NoulAnswer | ScoreAnswer:
        known = set(self.policy.models)
        if isinstance(question, Choice) and set(question.criteria) <= known:
            return self._choice(tuple(model for model in self.policy.models if model in question.criteria), messages)
        if isinstance(question, Noul):
            return NoulAnswer(type="noul", noul=self._correct(messages))
        if isinstance(question, Score):
            return _score(question, self._correct(messages))
        asked = f"a {question.type}"
        if isinstance(question, Choice):
            asked = f"a choice with {', '.join(sorted(set(question.criteria) - known))}"
        msg = (
            f"Question {name!r} is {asked}. A cascade answers a Choice between models of its policy "
            f"({', '.join(self.policy.models)}), and a Noul or a Score about the answer that ends the state."
        )
        raise ValueError(msg)

    def _choice(self, models: tuple[str, ...], messages: list[BaseMessage]) -> ChoiceAnswer:
        text = self.query(messages)
        chosen, cluster = models[-1], None
        if text.strip():
            route = self.policy.route(text, frozenset(models))
            chosen, cluster = route.plan.start, route.cluster
        else:
            whole_text(messages)  # without a text, the strongest is asked; without anything, this raises
        stats = self.policy.table.pool(self.policy.factors).only(models)
        error = stats.mean_error if cluster is None else stats.error[:, cluster]
        chances = _chances(self.policy, models, cluster)
        return ChoiceAnswer(
            type="choice",
            choice=chosen,
            probabilities=dict(zip(models, chances.tolist(), strict=True)),
            confidence=float(1 - error[models.index(chosen)]),
        )

    def _correct(self, messages: list[BaseMessage]) -> float:
        """P(correct) of the answer that ends a conversation."""
        message = messages[-1] if messages else None
        if not isinstance(message, AIMessage):
            msg = "There is no answer to judge: a Noul or a Score needs a state whose last message is an AI message."
            raise ValueError(msg)
        model, message = _as_written(message, self.answered_by)
        answer = answer_of(message, model)
        if answer.only_tool_calls:
            msg = "There is no answer to judge: the last message only calls tools."
            raise ValueError(msg)
        query = self.query(messages[:-1])
        read = query if query.strip() else whole_text(messages[:-1])
        probability = self._estimator(model).predict_proba([read], [answer])
        return max(0.0, float(gate_scores(probability, [answer])[0]))

    def _estimator(self, model: str) -> QualityEstimator:
        found = self.policy.estimator(model)
        if found is None:
            having = ", ".join(self.policy.estimators) or "none of its models"
            msg = f"The policy has no quality estimator for answers of {model}; it has one for {having}."
            raise ValueError(msg)
        return found

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return [("policy", self.policy.fingerprint), ("answered_by", self.answered_by)]


def _messages(state: State) -> list[BaseMessage]:
    """The conversation that a state holds."""
    found: Any = state.get("messages") if isinstance(state, Mapping) else state
    try:
        if isinstance(found, Sequence) and not isinstance(found, str):
            return convert_to_messages(found)
        return convert_to_messages([found])
    except (NotImplementedError, ValueError) as error:
        msg = (
            "A cascade reads a state that is a text, a message, messages, or a mapping with messages; "
            f"found {type(state).__name__}: {error}"
        )
        raise ValueError(msg) from error


def _as_written(message: AIMessage, answered_by: str | None) -> tuple[str, AIMessage]:
    """Who wrote an answer, and the answer with that call's usage: a cascade's message has the sum over every pass."""
    trace = message.response_metadata.get("cascade")
    if isinstance(trace, Mapping) and "model" in trace:
        usages = [one["usage"] for one in trace.get("passes") or [] if one["model"] == trace["model"]]
        return trace["model"], message.model_copy(update={"usage_metadata": usages[-1] if usages else None})
    if answered_by is None:
        msg = (
            "The answer does not say which model of the policy wrote it, for it is not a cascade's own: "
            "give its name, CascadeDecisionModel(answered_by=...)."
        )
        raise ValueError(msg)
    return answered_by, message


def _chances(policy: cc.CascadePolicy, models: tuple[str, ...], cluster: int | None) -> Floats:
    """P(a model was the right one to ask) over a cluster's training queries, or over all; shape (models,), sum 1.

    An outcome that is not known counts as the model's accuracy in the query's cluster.
    """
    stats = policy.table.pool(policy.factors).only(models)
    evidence = policy.evidence.only(models)
    right = nan_mean(evidence.correct)
    right = np.where(np.isnan(right), 1 - stats.error.T[evidence.labels], right)
    if cluster is not None:
        right = right[evidence.labels == cluster]
    cheapest_first = np.argsort(stats.model_cost if cluster is None else stats.cost[:, cluster], kind="stable")
    right = right[:, cheapest_first]
    all_wrong = np.cumprod(1 - right, axis=1)
    first_right = right * np.column_stack([np.ones(len(right)), all_wrong[:, :-1]])
    first_right[:, 0] += all_wrong[:, -1]
    found = np.empty(len(models))
    found[cheapest_first] = first_right.mean(axis=0)
    return found


def _score(question: Score, correct: float) -> ScoreAnswer:
    last = len(question.criteria) - 1
    return ScoreAnswer(
        type="score",
        score=correct * last,
        legend=dict(enumerate(question.criteria)),
        probabilities=dict.fromkeys(range(last), 0.0) | {0: 1 - correct, last: correct},
        confidence=max(correct, 1 - correct),
    )
