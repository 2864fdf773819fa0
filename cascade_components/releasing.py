"""What a fit learns about the beginnings of answers: when they may be released before they are whole."""

from __future__ import annotations

import numpy as np

from cascade_components.arrays import Labels
from cascade_components.cascade import QualityEstimator
from cascade_components.encoders import CachedEncoder, read_ahead
from cascade_components.judging import MIN_ANSWERS, Judged, JudgedAnswers, ModelAnswers, fresh_estimator
from cascade_components.options import candidate_thresholds
from cascade_components.planning import Strategy
from cascade_components.progress import with_bar
from cascade_components.quality.features import features_remembered, readable_text
from cascade_components.quality.prefixes import CHECKPOINTS, misleads, prefix
from cascade_components.quality.release import Reading, ReleaseRule, choose_rule, sample
from cascade_components.quality.training import train_out_of_fold

PREFIX_PENALTY = 10.0
"""Of the heads that read prefixes: as good as a choice for each of them, and eight times as fast."""

RARE = 0.01
"""Share of a model's answers whose beginning may mislead; if there are more, none is released early."""


def release_rules(
    judged: Judged, encoder: CachedEncoder, quality: object, strategy: Strategy, seed: int, *, progress: bool
) -> dict[str, ReleaseRule]:
    """Find each model's rule of early release.

    Args:
        judged: What is known of whole answers. Every vector of them has been used by now, so those of prefixes may
            push them out of the encoder's memory.
        encoder: Of the policy.
        quality: How estimators are made.
        strategy: "sequential" has but one gate, at 0.5.
        seed: Seed of everything random.
        progress: Show progress bars on a terminal.
    """
    own = fresh_estimator("embedding", encoder, strategy, seed, PREFIX_PENALTY) if quality == "embedding" else None
    rules = {}
    for model, found in with_bar(judged.models.items(), "read beginnings", progress=progress):
        rows = sample(found.answers.queries.tolist(), seed)
        read = found.answers.only(rows)
        misleading = np.mean([misleads(answer.text) for answer in read.answers]) > RARE
        readings = [] if misleading else _readings(read, rows, found, own, encoder, seed, progress=progress)
        gates = [0.5] if strategy == "sequential" else candidate_thresholds(found.gated)
        rules[model] = choose_rule(readings, found.gated[rows], read.correct, [float(gate) for gate in gates])
    return rules


def _readings(
    read: ModelAnswers,
    positions: Labels,
    found: JudgedAnswers,
    own: QualityEstimator | None,
    encoder: CachedEncoder,
    seed: int,
    *,
    progress: bool,
) -> list[Reading]:
    """Score the prefixes of each length: by a head of their own (`own`), or by the one that reads whole answers.

    What tells a whole answer's quality (its length above all) tells little, or lies, about a prefix: a head of their
    own ranks prefixes much better. An estimator that the user gave reads both: there is but one to give again on load.
    """
    readings = []
    for words in CHECKPOINTS:
        beginnings = [(row, cut) for row, answer in enumerate(read.answers) if (cut := prefix(answer, words))]
        rows, cuts = np.array([row for row, _ in beginnings], np.intp), [cut for _, cut in beginnings]
        if len(rows) < MIN_ANSWERS or np.ptp(read.correct[rows]) == 0:
            continue
        queries = [read.texts[row] for row in rows]
        if own is None:
            scores = found.trained.read(positions[rows], queries, cuts)
            readings.append(Reading(words, found.trained.estimator, rows, scores))
            continue
        read_ahead(encoder, [readable_text(cut) for cut in cuts], f"first {words} words", progress=progress)
        with features_remembered():
            reader = train_out_of_fold(own, queries, cuts, read.correct[rows], rows.tolist(), seed=seed)
        readings.append(Reading(words, reader.estimator, rows, reader.scores))
    return readings
