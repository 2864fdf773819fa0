import numpy as np
import pytest

import cascade_components as cc
from cascade_components.quality.training import scores_of, train_out_of_fold


class Memory:
    """Remembers what it was trained on, to prove that it never scores it."""

    seen: frozenset = frozenset()

    def fit(self, queries, answers, correct):
        self.seen = frozenset(queries)

    def predict_proba(self, queries, answers):
        return np.array([float(query in self.seen) for query in queries])


def test_no_answer_is_scored_by_who_saw_its_query():
    queries = [f"q{n // 2}" for n in range(60)]  # two runs of each query
    answers = [cc.Answer("a")] * 60
    trained, scores = train_out_of_fold(Memory(), queries, answers, np.zeros(60), [n // 2 for n in range(60)])
    assert scores.max() == 0
    assert trained.predict_proba(queries, answers).min() == 1


class Fixed:
    def __init__(self, value):
        self.value = value

    def predict_proba(self, queries, answers):
        return self.value


def test_an_estimator_without_fit_is_used_as_it_is():
    estimator = Fixed([0.5, 0.5])
    trained, scores = train_out_of_fold(estimator, ["a", "b"], [cc.Answer("x")] * 2, [0, 1], [0, 1])
    assert trained is estimator
    assert scores.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("bad", [[0.5], [[0.5, 0.5]], [0.5, 1.5], [0.5, float("nan")]])
def test_scores_that_are_no_probabilities_are_refused(bad):
    with pytest.raises(ValueError, match=r"predict_proba of Fixed must return 2 probabilities in \[0, 1\]"):
        scores_of(Fixed(bad), ["a", "b"], [cc.Answer("x")] * 2)
