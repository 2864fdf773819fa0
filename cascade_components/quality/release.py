"""Early release: when the estimator is so sure of an answer's beginning that the answer need not be held."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cascade_components.answers import Answer
from cascade_components.arrays import Floats, Labels
from cascade_components.calibration import ISOTONIC_FROM, fit_calibrator
from cascade_components.cascade import QualityEstimator
from cascade_components.quality.calibrated import CalibratedEstimator
from cascade_components.quality.prefixes import checkpoint, prefix
from cascade_components.trace import EarlyRelease

CONFIDENCE = 0.95
"""One-sided: how sure it must be that released answers are as good as those that the gate accepts."""

MAX_ANSWERS = 1000
"""Answers of a model whose prefixes are read when fitting; more would find lower bars, and slow the fit down."""

CANDIDATES = 20
"""Thresholds that are tried, at equal steps in the number of answers that they release."""


@dataclass(frozen=True)
class ReleaseRule:
    """When one model's answers may be released before they are whole."""

    gates: tuple[float, ...] = ()
    """Thresholds of gates for which a threshold on prefixes was found, ascending; none: nothing is released."""
    bars: tuple[float, ...] = ()
    """For each gate: release at P(correct) >= bar."""
    readers: Mapping[int, CalibratedEstimator] = field(default_factory=dict)
    """Checkpoint → what estimates P(correct) from prefixes of that length."""

    def bar(self, gate: float) -> float | None:
        """The threshold on prefixes under a gate: that of the next higher gate known; None: never released."""
        place = bisect_left(self.gates, gate)
        return self.bars[place] if place < len(self.gates) else None

    def read(self, query: str, answer: Answer, gate: float) -> EarlyRelease | None:
        """Read an answer so far; None where it may not be released yet.

        Args:
            query: The query.
            answer: As much of the answer as there is.
            gate: The threshold that the whole answer would have to reach.
        """
        bar, words = self.bar(gate), checkpoint(answer.text)
        if bar is None or words is None or words not in self.readers:
            return None
        beginning = prefix(answer, words) or answer
        score = float(self.readers[words].predict_proba([query], [beginning])[0])
        return EarlyRelease(words, score, bar) if score >= bar else None


@dataclass(frozen=True)
class Reading:
    """What an estimator says of the prefixes of one length."""

    words: int
    estimator: QualityEstimator
    rows: Labels
    """Which answers have such a prefix, shape (n,)."""
    scores: Floats
    """Of each prefix, by a copy that has not seen its query, shape (n,)."""


def sample(queries: Sequence[int], seed: int) -> Labels:
    """Which of a model's answers have their prefixes read: one of each query, of at most `MAX_ANSWERS` queries.

    Args:
        queries: Number of each answer's query.
        seed: Seed of the sample.
    """
    order = np.random.default_rng(seed).permutation(len(queries))
    _, first = np.unique(np.asarray(queries)[order], return_index=True)
    return np.sort(order[np.sort(first)[:MAX_ANSWERS]])


def choose_rule(
    readings: Sequence[Reading], gate_scores: Floats, correct: Floats, gates: Sequence[float]
) -> ReleaseRule:
    """Find the lowest thresholds on prefixes at which released answers are as good as those that gates accept.

    The scores of each length are calibrated by themselves: prefixes differ in what they tell, and all differ from
    whole answers.

    Args:
        readings: What is known of the answers' prefixes.
        gate_scores: What gates decide on, once the answers are whole, shape (answers,).
        correct: 0…1, shape (answers,).
        gates: Thresholds of gates.
    """
    surest = np.full(len(correct), -np.inf)
    readers = {}
    for reading in readings:
        # Few enough for Platt: isotonic steps would be drawn by the labels that the bars are tested on.
        few = slice(ISOTONIC_FROM - 1)
        calibrator = fit_calibrator(reading.scores[few], correct[reading.rows[few]])
        readers[reading.words] = CalibratedEstimator(reading.estimator, calibrator)
        surest[reading.rows] = np.maximum(surest[reading.rows], calibrator(reading.scores))
    bars: list[float] = []
    ascending = sorted(gates)
    for gate in ascending:
        accepted = correct[gate_scores >= gate]
        bar = _lowest_bar(surest, correct, float(accepted.mean())) if accepted.size else None
        if bar is None:
            break  # a higher gate asks for more
        bars.append(max([bar, *bars]))
    return ReleaseRule(tuple(ascending[: len(bars)]), tuple(bars), readers)


def _lowest_bar(surest: Floats, correct: Floats, wanted: float) -> float | None:
    """The lowest bar at which those released are right as often as `wanted`.

    Bars are tested from the strictest down, up to the first that fails, so the chance of a wrong one among them is
    that of a single test. The first releases enough answers to pass if they are wrong half as often as allowed.
    """
    ordered = np.sort(surest[np.isfinite(surest)])[::-1]
    counts = np.linspace(0, len(ordered), CANDIDATES + 1).astype(int)
    found = None
    for bar in sorted({float(ordered[count - 1]) for count in counts if count}, reverse=True):
        released = correct[surest >= bar]
        if _at_least((1 + wanted) / 2 * len(released), len(released)) < wanted:
            continue
        if _at_least(released.sum(), len(released)) < wanted:
            break
        found = bar
    return found


def _at_least(right: float, count: int) -> float:
    """Clopper–Pearson lower bound of a share, of which `right` of `count` were seen.

    The share of right answers among the accepted is taken as known. That errs on the safe side wherever half of the
    released or more are among the accepted: what luck the accepted had is then mostly the luck of the released.
    """
    from scipy.special import betaincinv

    return float(betaincinv(right, count - right + 1, 1 - CONFIDENCE)) if right > 0 else 0.0
