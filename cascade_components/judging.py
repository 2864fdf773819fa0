"""What a fit learns about answers: how good each model's are, and when they may be released before they are whole."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cascade_components.answers import Answer
from cascade_components.arrays import Floats, Labels
from cascade_components.calibration import Calibrator, fit_calibrator
from cascade_components.cascade import QualityEstimator
from cascade_components.encoders import CachedEncoder, encode_with_progress
from cascade_components.options import candidate_thresholds
from cascade_components.outcomes import Outcome
from cascade_components.planning import Strategy
from cascade_components.quality.calibrated import CalibratedEstimator, gate_scores
from cascade_components.quality.features import readable_text
from cascade_components.quality.prefixes import CHECKPOINTS, misleads, prefix
from cascade_components.quality.release import Reading, ReleaseRule, choose_rule, sample
from cascade_components.quality.training import OutOfFold, train_out_of_fold
from cascade_components.tables import OutcomeTable

MIN_ANSWERS = 40
"""Answers of a model, or prefixes of one length, below which no quality estimator is trained for them."""

PREFIX_PENALTY = 10.0
"""Of the heads that read prefixes: as good as a choice for each of them, and eight times as fast."""

RARE = 0.01
"""Share of a model's answers whose beginning may mislead; if there are more, none is released early."""

_Rows = list[tuple[int, int, Outcome]]
"""Answers of one model, each with its query's and its run's position."""


@dataclass(frozen=True)
class Judged:
    """What was learned about the answers of each model."""

    scores: Floats
    """Out-of-fold P(correct) that plans are made from, shape (queries, models, runs); NaN: not judged."""
    estimators: dict[str, CalibratedEstimator]
    releases: dict[str, ReleaseRule]


def judge_answers(
    table: OutcomeTable,
    encoder: CachedEncoder,
    quality: str | QualityEstimator | None,
    strategy: Strategy,
    seed: int,
    *,
    progress: bool,
) -> Judged:
    """Train an estimator for each model, score its answers out-of-fold, and find its rule of early release.

    Args:
        table: The outcomes.
        encoder: Of the policy.
        quality: "embedding", an estimator of the user's own, or None: nothing is judged.
        strategy: "sequential" takes raw scores, as arXiv 2606.27457 does.
        seed: Seed of everything random.
        progress: Show progress bars on a terminal.
    """
    judged = Judged(np.full(table.cells.shape, np.nan), {}, {})
    if quality is None:
        return judged
    from tqdm import tqdm

    answers = {model: table.answers(position) for position, model in enumerate(table.models)}
    if quality == "embedding":
        texts = [readable_text(row.answer) or " " for rows in answers.values() for _, _, row in rows]
        if texts:
            encode_with_progress(encoder, texts, "answers", progress=progress)
    fresh = _fresh(quality, encoder, strategy, seed)
    trained: dict[str, OutOfFold] = {}
    named = list(enumerate(answers.items()))
    for position, (model, rows) in tqdm(
        named, desc="train estimators", disable=None if progress else True, leave=False
    ):
        labels = _labels(rows)
        if len(rows) < MIN_ANSWERS or np.ptp(labels) == 0:
            continue  # nothing to learn from: this model's answers are not gated
        found = trained[model] = _train(fresh, rows, seed)
        # The paper accepts at 0.5 of the raw score.
        calibrator = Calibrator() if strategy == "sequential" else fit_calibrator(found.scores, labels)
        judged.estimators[model] = CalibratedEstimator(found.estimator, calibrator)
        scored = gate_scores(calibrator(found.scores), [row.answer for _, _, row in rows])
        for (query, run, _), score in zip(rows, scored, strict=True):
            judged.scores[query, position, run] = score
    # Only now that every answer's vector has been used may those of prefixes push it out of the encoder's memory.
    own = _fresh(quality, encoder, strategy, seed, PREFIX_PENALTY) if quality == "embedding" else None
    for model, found in trained.items():
        read = _Sample.of(answers[model], judged.scores[:, table.models.index(model)], seed)
        readings = [] if read.misleads else _readings(read, found, own, encoder, seed, progress=progress)
        scores = judged.scores[:, table.models.index(model)]
        gates = [0.5] if strategy == "sequential" else candidate_thresholds(scores[~np.isnan(scores)])
        judged.releases[model] = choose_rule(readings, read.gated, read.labels, [float(gate) for gate in gates])
    return judged


def _labels(rows: _Rows) -> Floats:
    return np.array([row.correct for _, _, row in rows])


def _train(fresh: QualityEstimator, rows: _Rows, seed: int) -> OutOfFold:
    queries, answers = [row.query for _, _, row in rows], [row.answer for _, _, row in rows]
    return train_out_of_fold(fresh, queries, answers, _labels(rows), [query for query, _, _ in rows], seed=seed)


@dataclass(frozen=True)
class _Sample:
    """The answers of one model whose prefixes are read."""

    positions: Labels
    """Among all its answers."""
    queries: list[str]
    answers: list[Answer]
    labels: Floats
    gated: Floats
    """What gates decide on, once the answers are whole."""

    @classmethod
    def of(cls, rows: _Rows, scores: Floats, seed: int) -> _Sample:
        positions = sample([query for query, _, _ in rows], seed)
        kept = [rows[position] for position in positions]
        answers = [row.answer for _, _, row in kept]
        gated = np.array([scores[query, run] for query, run, _ in kept])
        return cls(positions, [row.query for _, _, row in kept], answers, _labels(kept), gated)

    @property
    def misleads(self) -> bool:
        return bool(np.mean([misleads(answer.text) for answer in self.answers]) > RARE)


def _readings(
    read: _Sample,
    trained: OutOfFold,
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
    found = []
    for words in CHECKPOINTS:
        beginnings = [(row, cut) for row, answer in enumerate(read.answers) if (cut := prefix(answer, words))]
        if len(beginnings) < MIN_ANSWERS or np.ptp(read.labels[[row for row, _ in beginnings]]) == 0:
            continue
        rows, cuts = np.array([row for row, _ in beginnings]), [cut for _, cut in beginnings]
        queries = [read.queries[row] for row in rows]
        if own is None:
            found.append(Reading(words, trained.estimator, rows, trained.read(read.positions[rows], queries, cuts)))
            continue
        encode_with_progress(encoder, [readable_text(cut) for cut in cuts], f"first {words} words", progress=progress)
        reader = train_out_of_fold(own, queries, cuts, read.labels[rows], rows.tolist(), seed=seed)
        found.append(Reading(words, reader.estimator, rows, reader.scores))
    return found


def _fresh(
    quality: str | QualityEstimator,
    encoder: CachedEncoder,
    strategy: Strategy,
    seed: int,
    penalty: float | None = None,
) -> QualityEstimator:
    from cascade_components.quality.head import EmbeddingHead

    if isinstance(quality, str):
        weight: Literal["balanced"] | None = "balanced" if strategy == "sequential" else None
        return EmbeddingHead(encoder, penalty=penalty, class_weight=weight, seed=seed)
    if isinstance(quality, EmbeddingHead) and quality.encoder is None:
        quality = copy.deepcopy(quality)
        quality.encoder = encoder
    return quality
