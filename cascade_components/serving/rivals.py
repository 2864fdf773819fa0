"""What a trace becomes when two models are asked at once: the first, and a rival because the first is slow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cascade_components.trace import Trace


def rival_of(trace: Trace, ladder: Sequence[str]) -> str | None:
    """Who is asked beside the model: the plan's target, else the strongest other one; no weaker than a weak answer.

    Args:
        trace: Names the model asked now.
        ladder: The policy's models, weakest first.
    """
    weakest = max((ladder.index(name) for name in trace.weak), default=-1)
    others = [name for name in ladder[weakest + 1 :] if name in trace.available and name not in trace.path]
    if trace.target in others:
        return trace.target
    return others[-1] if others else None


def as_overtaken(trace: Trace, rival: str) -> Trace:
    """The rival answered first: its answer is judged now, by checks alone."""
    return replace(
        trace,
        model=rival,
        path=(*trace.path, rival),
        reasons=(*trace.reasons, f"{rival} answered before {trace.model}"),
        target=None,
        threshold=None,
    )


def as_weak_rival(first: Trace, rival: str, failed_checks: tuple[str, ...]) -> Trace:
    """The rival's answer failed a check: the first model is waited for; without it, that answer stands.

    Args:
        first: The trace before the rival answered.
        rival: Its name.
        failed_checks: Names of the checks.
    """
    reason = f"{rival} answered before {first.model} but failed the check {', '.join(failed_checks)}"
    return replace(
        first,
        path=(*first.path[:-1], rival, first.model),
        scores=(*first.scores, None),
        reasons=(*first.reasons, reason),
        weak=(*first.weak, rival),
        failed_checks=(*first.failed_checks, *failed_checks),
    )


def without_rival(trace: Trace, rival: str, error: Exception) -> Trace:
    """The rival failed."""
    return replace(
        trace,
        reasons=(*trace.reasons, f"{rival} failed ({type(error).__name__})"),
        failures=(*trace.failures, (rival, error)),
        available=trace.available - {rival},
    )
