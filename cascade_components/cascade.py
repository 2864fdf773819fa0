"""One query through the cascade: start, judge, fail.

Pure decisions on frozen traces: no I/O, no framework, no state, so any number of threads and event loops
can drive one `Cascade`. The adapters only call the models that the traces name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cascade_components.answers import Answer
from cascade_components.failures import told
from cascade_components.gate import AnswerGate
from cascade_components.guarded import EstimatorFailures, Fallback, Guard, process_failures
from cascade_components.trace import Plan, Route, Trace


class QualityEstimator(Protocol):
    """Anything that estimates P(correct) of answers. One that also has `fit(queries, answers, correct)` is trained."""

    def predict_proba(self, queries: Sequence[str], answers: Sequence[Answer]) -> NDArray[np.floating[Any]]:
        """Return P(correct) for each pair, shape (n,), in [0, 1]."""
        ...


class Router(Protocol):
    """What a cascade needs to know: the ladder, a plan for each query, an estimator for each model's answers.

    An estimator may also have `handicap(queries, answers)`: how far each P(correct) may fall short of the threshold.
    A router may also have `early_release(query, answer, threshold) -> EarlyRelease | None`, which reads an answer so
    far; without it no answer is ever released early.
    """

    @property
    def models(self) -> tuple[str, ...]:
        """The ladder: names of the pool's models, weakest first."""
        ...

    @property
    def fingerprint(self) -> str:
        """Names the fitted policy, so that a trace can be read later."""
        ...

    def route(self, query: str, available: frozenset[str]) -> Route:
        """Choose the plan for a query among the models that can be called now (at least one)."""
        ...

    def estimator(self, model: str) -> QualityEstimator | None:
        """The calibrated estimator for this model's answers; None where it has none."""
        ...


class AllModelsFailed(ExceptionGroup[Exception]):
    """No model of the cascade could answer; `exceptions` holds each model's own error.

    The message names their kinds only, for their texts may hold secrets.
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"


class Cascade:
    """Applies a fitted policy to one query at a time.

    Args:
        policy: A `CascadePolicy`, or anything that satisfies `Router`.
        estimator_deadline_ms: How long a quality estimator may take for one answer; None: as long as it likes. With a
            deadline it runs in another thread, of which a process has 16 at most: once all of them hang, no estimator
            is waited for.
        on_estimator_failure: What becomes of an answer whose estimator raised, was late, or gave no probability:
            "escalate" asks the plan's target, or whoever is stronger (with nobody left the answer stands), "accept"
            lets it stand. Its score is None, and the trace's reason says why; `failed_checks` names it
            `estimator_failed`. Of an answer that is read while it grows, the rest is held.
        estimator_failures: Counts them, and logs the first of each kind; None: one counter for the process.

    Raises:
        ValueError: The deadline is not a positive number, or there is no such fallback.

    Example:
        >>> cascade = Cascade(policy)                            # doctest: +SKIP
        >>> trace = cascade.start("What is 2 + 2?")              # doctest: +SKIP
        >>> trace = cascade.judge(trace, "4")                    # doctest: +SKIP
        >>> trace.done, trace.model                              # doctest: +SKIP
        (True, 'small')
    """

    def __init__(
        self,
        policy: Router,
        *,
        estimator_deadline_ms: float | None = None,
        on_estimator_failure: Fallback = "escalate",
        estimator_failures: EstimatorFailures | None = None,
    ) -> None:
        self.policy = policy
        failures = process_failures() if estimator_failures is None else estimator_failures
        self._gate = AnswerGate(policy, Guard(estimator_deadline_ms, on_estimator_failure, failures))

    def start(
        self,
        query: str,
        *,
        available: Collection[str] | None = None,
        model: str | None = None,
        route: Route | None = None,
        escalate: bool = True,
    ) -> Trace:
        """Say which model to ask first.

        Args:
            query: The text that is routed.
            available: Models that can be called now; None: all.
            model: Force this model; its answer stands.
            route: Take this route, instead of the one that the policy chooses.
            escalate: False: whatever the start model answers stands, failed checks apart.

        Raises:
            ValueError: The query is empty, a name is not in the policy, or no model is available.
        """
        if not query.strip():
            msg = "The query is empty: there is nothing to route. Pass the text of the question."
            raise ValueError(msg)
        can_call = self._known(self.policy.models if available is None else available)
        if model is not None:
            self._known([model])
            route = Route(Plan(model), None, 0.0, f"{model} was asked for by name")
        elif route is None:
            route = self.policy.route(query, can_call)
        return self._begin(query, route, can_call, escalate=escalate)

    def judge(self, trace: Trace, answer: str | Answer, *, failed_checks: Iterable[str] = ()) -> Trace:
        """Read the answer of `trace.model`: accept it (`done`), or name the model to ask next.

        Args:
            trace: The trace that named the model.
            answer: Its answer.
            failed_checks: Names of checks that the answer failed (`empty`, `unknown_tool`, …): a failed check is
                a weak answer, gated or not.

        Raises:
            ValueError: The trace is done already.
        """
        self._open(trace)
        found = self._gate.judge(trace, answer, tuple(failed_checks))
        trace = replace(trace, failed_checks=trace.failed_checks + found.failed_checks)
        if found.stands:
            return self._accept(trace, found.score, found.reason)
        next_model = self._stronger(trace, preferred=trace.target)
        if next_model is None:
            return self._accept(trace, found.score, f"{found.reason}, but no stronger model is left")
        return replace(
            trace,
            model=next_model,
            path=(*trace.path, next_model),
            scores=(*trace.scores, found.score),
            reasons=(*trace.reasons, f"{found.reason}: {next_model} is asked"),
            target=None,
            threshold=None,
            weak=(*trace.weak, trace.model),
            released=None,
        )

    def release(self, trace: Trace, answer: Answer) -> Trace:
        """Read as much of the answer of `trace.model` as there is: may the rest be passed on as it comes?

        Args:
            trace: The trace that named the model.
            answer: Its answer so far.

        Returns:
            The very same trace where the answer is not gated, or may not be released yet; else one whose answer
            the estimator can no longer reject. Judge it once it is whole: a failed check is a weak answer still.

        Raises:
            ValueError: The trace is done already.
        """
        self._open(trace)
        found = self._gate.release(trace, answer)
        if found is None:
            return trace
        reason = f"{trace.model} is released after {found.words} words: scored {found.score:.2f}, "
        reason += f"at or above {found.threshold:.2f}"
        return replace(trace, target=None, released=found.score, reasons=(*trace.reasons, reason))

    def fail(self, trace: Trace, error: Exception) -> Trace:
        """`trace.model` raised `error`: name the model to ask instead.

        With a weak answer at hand and nobody stronger left, that answer stands: the trace is done and names it.

        Raises:
            AllModelsFailed: Nobody is left to ask, and no answer is at hand.
            ValueError: The trace is done already.
        """
        self._open(trace)
        failures = (*trace.failures, (trace.model, error))
        can_call = trace.available - {trace.model}
        verdict = f"{trace.model} failed ({type(error).__name__})"
        trace = replace(trace, failures=failures, available=can_call)
        if trace.weak:
            return self._after_failed_escalation(trace, verdict)
        if not can_call:
            causes = "; ".join(f"{model}: {told(cause)}" for model, cause in failures)
            raise AllModelsFailed(f"Every model of the cascade failed ({causes})", [cause for _, cause in failures])
        route = self.policy.route(trace.query, can_call)
        reasons = (*trace.reasons, f"{verdict}: {route.plan.start} is asked")
        return replace(
            self._begin(trace.query, route, can_call, escalate=trace.escalate),
            id=trace.id,
            path=(*trace.path, route.plan.start),
            scores=trace.scores,
            reasons=reasons,
            failures=failures,
            failed_checks=trace.failed_checks,
        )

    def can_escalate(self, trace: Trace) -> bool:
        """Whether a stronger model than `trace.model` is left to ask."""
        return self._stronger(trace, preferred=None) is not None

    def _begin(self, query: str, route: Route, available: frozenset[str], *, escalate: bool) -> Trace:
        plan = route.plan if escalate else Plan(route.plan.start)
        return Trace(
            query=query,
            model=plan.start,
            path=(plan.start,),
            done=False,
            cluster=route.cluster,
            distance=route.distance,
            scores=(),
            reasons=(route.reason,),
            target=plan.target,
            threshold=plan.threshold,
            policy=self.policy.fingerprint,
            available=available,
            escalate=escalate,
        )

    def _after_failed_escalation(self, trace: Trace, verdict: str) -> Trace:
        draft = trace.weak[-1]
        next_model = self._stronger(replace(trace, model=draft), preferred=None)
        if next_model is None:
            reasons = (*trace.reasons, f"{verdict}, nobody stronger is left: the answer of {draft} stands")
            return replace(trace, model=draft, done=True, reasons=reasons, target=None, threshold=None)
        reasons = (*trace.reasons, f"{verdict}: {next_model} is asked")
        return replace(trace, model=next_model, path=(*trace.path, next_model), reasons=reasons)

    def _stronger(self, trace: Trace, preferred: str | None) -> str | None:
        """The preferred model if it can be called, else the strongest one above `trace.model` not asked yet."""
        ladder = self.policy.models
        above = ladder[ladder.index(trace.model) + 1 :]
        left = [model for model in above if model in trace.available and model not in trace.path]
        if preferred in left:
            return preferred
        return left[-1] if left else None

    @staticmethod
    def _accept(trace: Trace, score: float | None, reason: str) -> Trace:
        return replace(
            trace,
            done=True,
            scores=(*trace.scores, score),
            reasons=(*trace.reasons, reason),
            target=None,
            threshold=trace.threshold,
        )

    @staticmethod
    def _open(trace: Trace) -> None:
        if trace.done:
            msg = f"This trace is done: {trace.model} answered. Start a new one for the next query."
            raise ValueError(msg)

    def _known(self, names: Collection[str]) -> frozenset[str]:
        ladder = self.policy.models
        unknown = sorted(set(names) - set(ladder))
        if unknown or not names:
            problem = f"{', '.join(unknown)} not in the policy" if unknown else "No model is available"
            msg = f"{problem}; the policy knows {', '.join(ladder)}."
            raise ValueError(msg)
        return frozenset(names)
