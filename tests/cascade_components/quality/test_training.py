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
    found = train_out_of_fold(Memory(), queries, answers, np.zeros(60), [n // 2 for n in range(60)])
    assert found.scores.max() == 0
    assert found.estimator.predict_proba(queries, answers).min() == 1


def test_other_answers_are_read_by_copies_that_have_not_seen_their_queries():
    queries = [f"q{n}" for n in range(30)]
    found = train_out_of_fold(Memory(), queries, [cc.Answer("a")] * 30, np.zeros(30), range(30))
    rows = np.array([3, 3, 17, 29])
    assert found.read(rows, [queries[row] for row in rows], [cc.Answer("b")] * 4).max() == 0


class Fixed:
    def __init__(self, value):
        self.value = value

    def predict_proba(self, queries, answers):
        return self.value


def test_an_estimator_without_fit_is_used_as_it_is():
    estimator = Fixed([0.5, 0.5])
    found = train_out_of_fold(estimator, ["a", "b"], [cc.Answer("x")] * 2, [0, 1], [0, 1])
    assert found.estimator is estimator
    assert found.scores.tolist() == [0.5, 0.5]
    assert found.read(np.array([1, 0]), ["b", "a"], [cc.Answer("y")] * 2).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("bad", [[0.5], [[0.5, 0.5]], [0.5, 1.5], [0.5, float("nan")]])
def test_scores_that_are_no_probabilities_are_refused(bad):
    with pytest.raises(ValueError, match=r"predict_proba of Fixed must return 2 probabilities in \[0, 1\]"):
        scores_of(Fixed(bad), ["a", "b"], [cc.Answer("x")] * 2)
