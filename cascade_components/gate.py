"""What a gate makes of an answer: does it stand, by its score, or for want of one by the fallback?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cascade_components.answers import Answer
from cascade_components.guarded import EstimatorError, Guard
from cascade_components.trace import EarlyRelease, Trace

if TYPE_CHECKING:
    from cascade_components.cascade import Router

ESTIMATOR_FAILED = "estimator_failed"
"""Stands among a trace's failed checks where no score could be had."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate makes of an answer."""

    stands: bool
    score: float | None
    """Calibrated P(correct); None: there is none to be had."""
    reason: str
    failed_checks: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnswerGate:
    """Reads the answers that a policy gates."""

    policy: Router
    guard: Guard

    def judge(self, trace: Trace, answer: str | Answer, failed_checks: tuple[str, ...]) -> Verdict:
        """Whether the answer of `trace.model` stands."""
        model = trace.model
        if failed_checks:
            return Verdict(False, None, f"{model} failed the check {', '.join(failed_checks)}", failed_checks)
        if trace.target is None or trace.threshold is None:
            return Verdict(True, trace.released, f"{model} stands")
        if isinstance(answer, Answer) and answer.only_tool_calls:
            return Verdict(True, None, f"{model} called tools and passed the checks")
        read = replace(Answer(answer) if isinstance(answer, str) else answer, model=model)
        accept = self.guard.fallback == "accept"
        try:
            score, handicap = self.guard.ask(
                f"{model} in policy {trace.policy}",
                lambda: self._score(trace.query, read),
                f"answers that it cannot read are {'accepted' if accept else 'escalated'}",
            )
        except EstimatorError as error:
            reason = f"the estimator of {model} failed ({error})" + (", so its answer stands" if accept else "")
            return Verdict(accept, None, reason, (ESTIMATOR_FAILED,))
        needed = trace.threshold - handicap
        stands = score >= needed
        bar = f"{'at or above' if stands else 'below'} {needed:.2f}" + _why(handicap)
        return Verdict(stands, score, f"{model} scored {score:.2f}, {bar}")

    def release(self, trace: Trace, so_far: Answer) -> EarlyRelease | None:
        """What allows the answer of `trace.model` to be passed on before it is whole; None: nothing (yet)."""
        read, threshold = getattr(self.policy, "early_release", None), trace.threshold
        if read is None or trace.target is None or threshold is None:
            return None
        answer = replace(so_far, model=trace.model)

        def ask() -> EarlyRelease | None:
            found: EarlyRelease | None = read(trace.query, answer, threshold)
            if found is not None:
                _probability([found.score])
            return found

        consequence = "answers whose beginning it cannot read are held until they are whole"
        try:
            return self.guard.ask(f"beginnings by {trace.model} in policy {trace.policy}", ask, consequence)
        except EstimatorError:
            return None

    def _score(self, query: str, answer: Answer) -> tuple[float, float]:
        """P(correct), and how far it may fall short of the threshold."""
        estimator = self.policy.estimator(answer.model)
        if estimator is None:
            why = "the policy has none; fit it again"
            raise EstimatorError(why)
        weigh = getattr(estimator, "handicap", None)
        handicap = 0.0 if weigh is None else float(weigh([query], [answer])[0])
        if not math.isfinite(handicap):
            why = "its handicap is no number"
            raise EstimatorError(why)
        return _probability(estimator.predict_proba([query], [answer])), handicap


def _probability(found: Any) -> float:
    """The one probability that an estimator gave.

    Raises:
        EstimatorError: It gave something else.
    """
    values = np.asarray(found, float)
    if values.shape != (1,):
        why = "scores of a wrong shape"
        raise EstimatorError(why)
    if not 0 <= values[0] <= 1:
        why = "a score that is no probability"
        raise EstimatorError(why)
    return float(values[0])


def _why(handicap: float) -> str:
    """Why the bar is not the plan's threshold."""
    if abs(handicap) < 0.005:
        return ""
    rival = "less" if handicap > 0 else "more"
    return f" (the strongest model has {rival} of a chance than usual)"
