"""What a fit learns about answers: how good each model's are, and what a gate would make of them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from cascade_components.answers import Answer
from cascade_components.arrays import Floats, Labels
from cascade_components.calibration import Calibrator, fit_calibrator
from cascade_components.cascade import QualityEstimator
from cascade_components.encoders import CachedEncoder, read_ahead
from cascade_components.outcomes import Outcome
from cascade_components.planning import Strategy
from cascade_components.progress import with_bar
from cascade_components.quality.calibrated import CalibratedEstimator, Rival, gate_scores
from cascade_components.quality.features import features_remembered, readable_text
from cascade_components.quality.rivals import choose_rival
from cascade_components.quality.training import OutOfFold, train_out_of_fold
from cascade_components.tables import OutcomeTable

if TYPE_CHECKING:
    from torch import nn

_log = logging.getLogger(__name__)

MIN_ANSWERS = 40
"""Answers below which no quality estimator is trained for them."""

MOST_ANSWERS = 20_000
"""Answers of a model that are read. More of them make its estimator hardly better, and take long to embed."""

READ_BESIDES = 2_000
"""Texts that are read for a model besides its answers, at most: answers with additions, to learn to overlook them."""

RIVAL_PENALTY = 30.0
"""Of the heads that estimate the strongest model's chance: as good as a choice for each of them."""

POOLED_UP_TO = 6000
"""Answers in all up to which one head for all models is tried: with more, a head of its own serves each as well."""

Gate = Literal["gain", "error"]
"""What a gate weighs: what asking the strongest model would gain, or how likely this answer is wrong."""


@dataclass(frozen=True)
class ModelAnswers:
    """The answers of one model, in the order of the outcomes."""

    name: str
    answers: list[Answer]
    texts: list[str]
    """Of each answer's query."""
    queries: Labels
    """Position of each answer's query, shape (n,)."""
    runs: Labels
    correct: Floats

    @classmethod
    def of(cls, table: OutcomeTable, position: int) -> ModelAnswers:
        """The answers of the model at this position of a table."""
        rows: list[tuple[int, int, Outcome]] = table.answers(position)
        return cls(
            table.models[position],
            [row.answer for _, _, row in rows],
            [row.query for _, _, row in rows],
            np.array([query for query, _, _ in rows], np.intp),
            np.array([run for _, run, _ in rows], np.intp),
            np.array([row.correct for _, _, row in rows]),
        )

    def only(self, rows: Labels) -> ModelAnswers:
        """Some of these answers."""
        return ModelAnswers(
            self.name,
            [self.answers[row] for row in rows],
            [self.texts[row] for row in rows],
            self.queries[rows],
            self.runs[rows],
            self.correct[rows],
        )

    def first(self, turns: Floats | None) -> ModelAnswers:
        """At most `MOST_ANSWERS` of these answers, those whose queries come first."""
        if turns is None or len(self.answers) <= MOST_ANSWERS:
            return self
        return self.only(np.sort(np.argsort(turns[self.queries], kind="stable")[:MOST_ANSWERS]))

    @property
    def teaches(self) -> bool:
        """Whether there is something to learn: enough answers, right ones and wrong ones."""
        return len(self.answers) >= MIN_ANSWERS and bool(np.ptp(self.correct) > 0)

    def train(self, fresh: QualityEstimator, labels: Floats, seed: int) -> OutOfFold:
        """Train an estimator on these answers, whatever is to be told from them."""
        return train_out_of_fold(fresh, self.texts, self.answers, labels, self.queries.tolist(), seed=seed)


@dataclass(frozen=True)
class JudgedAnswers:
    """What was learned about the answers of one model."""

    answers: ModelAnswers
    trained: OutOfFold
    estimator: CalibratedEstimator
    gated: Floats
    """What gates compare with their thresholds, out-of-fold, shape (n,)."""


@dataclass(frozen=True)
class Judged:
    """What was learned about the answers of the pool; models with nothing to learn from are left out."""

    models: dict[str, JudgedAnswers]
    scores: Floats
    """What gates compare with their thresholds, out-of-fold, shape (queries, models, runs); NaN: not judged."""

    @property
    def estimators(self) -> dict[str, CalibratedEstimator]:
        """Model → its estimator."""
        return {model: found.estimator for model, found in self.models.items()}


def judge_answers(
    table: OutcomeTable,
    encoder: CachedEncoder,
    quality: str | QualityEstimator | nn.Module | None,
    strategy: Strategy,
    seed: int,
    *,
    turns: Floats | None = None,
    rivals: Floats | None = None,
    progress: bool = True,
) -> Judged:
    """Train an estimator for each model, and score its answers out-of-fold.

    Args:
        table: The outcomes.
        encoder: Of the policy.
        quality: "embedding", "sequence", "margins", an estimator or network of the user's own, or None: nothing is
            judged.
        strategy: "sequential" takes raw scores, as arXiv 2606.27457 does.
        seed: Seed of everything random.
        turns: Where there are more than `MOST_ANSWERS` of a model, those to queries of the lowest turns are read,
            shape (queries,); None: all are.
        rivals: For each model, whether the model that its gates weigh it against was right on each query, shape
            (models, queries), NaN: unknown, or a model without a rival; None: gates weigh errors alone.
        progress: Show progress bars on a terminal.
    """
    judged = Judged({}, np.full(table.cells.shape, np.nan))
    if quality is None:
        return judged
    found = [ModelAnswers.of(table, position).first(turns) for position in range(len(table.models))]
    if quality == "embedding" and (texts := [readable_text(one) or " " for each in found for one in each.answers]):
        read_ahead(encoder, texts, "answers", progress=progress)
    fresh = fresh_estimator(quality, encoder, strategy, seed, progress=progress)
    teaching = [answers for answers in found if answers.teaches]
    if silent := [answers.name for answers in found if not answers.teaches]:
        _log.warning(
            "Never gated, for want of %d answers with their text, right ones and wrong ones: %s",
            MIN_ANSWERS,
            ", ".join(silent),
        )
    with features_remembered():
        every = _trained(teaching, fresh, seed, progress=progress)
        for answers, trained in with_bar(every, "weigh gates", progress=progress, total=len(teaching)):
            position = table.models.index(answers.name)
            rival = None if rivals is None or quality != "embedding" else rivals[position]
            one = judged.models[answers.name] = _judge(answers, trained, rival, strategy, seed)
            judged.scores[answers.queries, position, answers.runs] = one.gated
    return judged


def _trained(
    teaching: list[ModelAnswers], fresh: QualityEstimator, seed: int, *, progress: bool
) -> Iterator[tuple[ModelAnswers, OutOfFold]]:
    """Each model's answers with the estimator that reads them: its own, or one for all where that is better."""
    bar = with_bar(teaching, "train estimators", progress=progress)
    own = [answers.train(fresh, answers.correct, seed) for answers in bar]
    pooled = _pooled(teaching, own, seed)
    for answers, mine, shared in zip(teaching, own, pooled, strict=True):
        better = shared is not None and _log_loss(shared.scores, answers) < _log_loss(mine.scores, answers)
        yield answers, shared if better and shared is not None else mine


def _pooled(teaching: list[ModelAnswers], own: list[OutOfFold], seed: int) -> list[OutOfFold | None]:
    """One head for all models, seen from each; None where it is not tried."""
    from cascade_components.quality.head import EmbeddingHead

    heads = [found.estimator for found in own if isinstance(found.estimator, EmbeddingHead)]
    sizes = [len(answers.answers) for answers in teaching]
    if len(heads) < max(2, len(own)) or sum(sizes) > POOLED_UP_TO or any(head.class_weight for head in heads):
        return [None] * len(own)
    penalty = float(np.median([head.chosen_penalty for head in heads]))
    head = EmbeddingHead(heads[0].encoder, penalty=penalty, models=[answers.name for answers in teaching], seed=seed)
    queries, runs, correct = (
        np.concatenate([getattr(answers, name) for answers in teaching]) for name in ("queries", "runs", "correct")
    )
    every = [answer for answers in teaching for answer in answers.answers]
    texts = [text for answers in teaching for text in answers.texts]
    together = ModelAnswers("all", every, texts, queries, runs, correct)
    found = together.train(head, together.correct, seed)
    ends = np.cumsum([0, *sizes])
    return [found.only(np.arange(ends[number], ends[number + 1])) for number in range(len(sizes))]


def _judge(
    answers: ModelAnswers, trained: OutOfFold, rival: Floats | None, strategy: Strategy, seed: int
) -> JudgedAnswers:
    # The paper accepts at 0.5 of the raw score.
    raw = strategy == "sequential"
    calibrator = Calibrator() if raw else fit_calibrator(trained.scores, answers.correct)
    own = trained.scores if raw else _calibrated_out_of_fold(trained, answers.correct)
    weighed, handicaps = (None, np.zeros(len(own))) if rival is None else _rival(answers, rival, own, trained, seed)
    estimator = CalibratedEstimator(trained.estimator, calibrator, weighed)
    return JudgedAnswers(answers, trained, estimator, gate_scores(own + handicaps, answers.answers))


def _calibrated_out_of_fold(trained: OutOfFold, correct: Floats) -> Floats:
    """Each fold's scores by a calibrator that has not seen it: plans are made on them, and may not know the labels."""
    own = np.empty(len(correct))
    for number in np.unique(trained.fold):
        inside = trained.fold == number
        # An estimator that was not trained has one fold.
        calibrator = fit_calibrator(trained.scores[~inside], correct[~inside]) if (~inside).any() else None
        own[inside] = (calibrator or fit_calibrator(trained.scores, correct))(trained.scores[inside])
    return own


def _log_loss(scores: Floats, answers: ModelAnswers) -> float:
    sure = np.clip(scores, 1e-6, 1 - 1e-6)
    return -float((answers.correct * np.log(sure) + (1 - answers.correct) * np.log(1 - sure)).mean())


def _rival(
    answers: ModelAnswers, rival: Floats, own: Floats, trained: OutOfFold, seed: int
) -> tuple[Rival | None, Floats]:
    """What the strongest model's chance does to gates on these answers, and the handicaps that it leads to."""
    from cascade_components.quality.head import EmbeddingHead

    none = None, np.zeros(len(own))
    won = rival[answers.queries]
    known, others = np.flatnonzero(~np.isnan(won)), np.flatnonzero(np.isnan(won))
    if len(known) < MIN_ANSWERS or np.ptp(won[known]) == 0 or not isinstance(trained.estimator, EmbeddingHead):
        return none
    part = answers.only(known)
    found = part.train(EmbeddingHead(trained.estimator.encoder, penalty=RIVAL_PENALTY, seed=seed), won[known], seed)
    chosen = choose_rival(found, own[known], part.correct, won[known], part.answers)
    if chosen.weight == 0:
        return none
    chance = np.empty(len(won))
    chance[known] = found.scores
    if others.size:
        unseen = answers.only(others)
        chance[others] = found.estimator.predict_proba(unseen.texts, unseen.answers)
    return chosen, chosen.handicap(chance)


def fresh_estimator(
    quality: str | QualityEstimator | nn.Module,
    encoder: CachedEncoder,
    strategy: Strategy,
    seed: int,
    penalty: float | None = None,
    *,
    progress: bool = True,
) -> QualityEstimator:
    """The untrained estimator that `quality` names, or is."""
    from torch import nn

    from cascade_components.quality.head import EmbeddingHead
    from cascade_components.quality.margins import MarginEstimator
    from cascade_components.quality.module import ModuleEstimator

    weight: Literal["balanced"] | None = "balanced" if strategy == "sequential" else None
    if quality == "sequence":
        from cascade_components.quality.sequence import SequenceHead

        return SequenceHead(class_weight=weight, seed=seed, progress=progress)
    if quality == "margins":
        return MarginEstimator()
    if isinstance(quality, str):
        return EmbeddingHead(encoder, penalty=penalty, class_weight=weight, seed=seed)
    if isinstance(quality, nn.Module) and not hasattr(quality, "predict_proba"):
        return ModuleEstimator(quality, encoder, class_weight=weight, seed=seed)
    given = cast(QualityEstimator, quality)
    if isinstance(given, EmbeddingHead | ModuleEstimator) and given.encoder is None:
        given = copy.deepcopy(given)
        given.encoder = encoder
    return given
