"""How well answers are judged: by this library's estimators, the paper's variant of them, and TF-IDF with a regression.

Each answer is judged by the fold that has not seen its query.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from data import Queries
from fold import Fold
from metrics import auroc, ece, precision_recall
from numpy.typing import NDArray

from cascade_components.arrays import Floats, Labels

BINS = 10


@dataclass(frozen=True)
class Estimator:
    """One way to judge."""

    title: str
    run: Callable[[Fold], Floats | None]
    """P(correct) of the test part's answers, shape (queries, models); None: not for this source."""


def _ours(fold: Fold) -> Floats | None:
    return fold.scores[1] if fold.judged else None


def _ours_static(fold: Fold) -> Floats | None:
    return fold.static.scores[1] if fold.judged else None


def _papers(fold: Fold) -> Floats | None:
    return fold.scored(fold.fit(strategy="sequential"), fold.test) if fold.judged else None


MOST_MODELS = 5
"""Pools beyond which the TF-IDF reference would take longer than all else."""

_PENALTIES = (1.0, 10.0)


def _tfidf(fold: Fold) -> Floats | None:
    if not fold.judged or len(fold.train.models) > MOST_MODELS:
        return None
    scores = np.full(fold.test.correct.shape, np.nan)
    for model in range(len(fold.train.models)):
        rows, texts = _texts(fold.train, model)
        tested, unseen = _texts(fold.test, model)
        label = fold.train.correct[rows, model] >= 0.5
        if not len(rows) or not len(tested) or label.all() or not label.any():
            continue
        best = max(_PENALTIES, key=lambda penalty: _validated(fold, rows, texts, label, penalty))
        scores[tested, model] = _judge(texts, label, best, unseen)
    return scores


def _validated(fold: Fold, rows: Labels, texts: list[str], label: NDArray[np.bool_], penalty: float) -> float:
    """AUROC on one inner fold."""
    seen = fold.inner[rows] != 0
    first = [text for text, kept in zip(texts, seen, strict=True) if kept]
    second = [text for text, kept in zip(texts, seen, strict=True) if not kept]
    if len(set(label[seen])) < 2 or len(set(label[~seen])) < 2:
        return 0.0
    score = _judge(first, label[seen], penalty, second)
    return float(auroc(score, label[~seen].astype(float), np.full((1, len(score)), 1 / len(score)))[0])


def _judge(texts: list[str], label: NDArray[np.bool_], penalty: float, unseen: list[str]) -> Floats:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    reader = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=50_000)
    model = LogisticRegression(C=penalty, max_iter=500).fit(reader.fit_transform(texts), label)
    return np.asarray(model.predict_proba(reader.transform(unseen))[:, 1])


def _texts(queries: Queries, model: int) -> tuple[Labels, list[str]]:
    rows, texts, answers = queries.answers(model)
    return rows, [f"{text}\n{answer}" for text, answer in zip(texts, answers, strict=True)]


ESTIMATORS: dict[str, Estimator] = {
    "judged-ours": Estimator("ours", _ours),
    "judged-static": Estimator("ours, static embeddings", _ours_static),
    "judged-paper": Estimator("ours, balanced and not calibrated, as the paper's", _papers),
    "judged-tfidf": Estimator("TF-IDF and logistic regression", _tfidf),
}


def figures(scores: Floats, correct: Floats, weights: Floats) -> dict[str, Floats]:
    """Figures of one estimator on one model's answers, for every draw; both of shape (queries,), NaN: not judged."""
    known = ~np.isnan(scores)
    score, right, weight = scores[known], correct[known], weights[:, known]
    precision, recall = precision_recall(score, right, weight)
    return {
        "answers": np.array([float(known.sum())]),
        "AUROC": auroc(score, right, weight),
        "ECE": ece(score, right, weight, bins=BINS),
        "precision": precision,
        "recall": recall,
    }
