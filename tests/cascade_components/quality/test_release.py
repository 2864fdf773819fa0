"""Early release: the rule on data whose truth is known."""

import numpy as np
import pytest

import cascade_components as cc
from cascade_components.calibration import Calibrator
from cascade_components.quality.calibrated import CalibratedEstimator
from cascade_components.quality.prefixes import CHECKPOINTS
from cascade_components.quality.release import MAX_ANSWERS, Reading, ReleaseRule, choose_rule, sample

GATES = (0.5, 0.7, 0.9)


def world(count, seed, *, blur):
    """Answers whose P(correct) the whole answer shows, and a prefix through noise of this size, in log-odds."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0.5, 2.0, count)
    correct = (rng.random(count) < sigmoid(truth)).astype(float)
    prefixes = np.full((count, len(CHECKPOINTS)), np.nan)
    for column in range(3):
        reached = rng.random(count) < 0.9
        shown = truth + rng.normal(0, blur / (column + 1), count)
        prefixes[reached, column] = sigmoid(shown / (1 + blur))[reached]
    return prefixes, sigmoid(truth), correct


def sigmoid(log_odds):
    return 1 / (1 + np.exp(-log_odds))


def rule_of(prefixes, gated, correct, gates):
    """The rule chosen from a table of scores (answers × checkpoints, NaN: not reached)."""
    readings = []
    for words, column in zip(CHECKPOINTS, prefixes.T, strict=True):
        rows = np.flatnonzero(~np.isnan(column))
        if rows.size:
            readings.append(Reading(words, Teller(), rows, column[rows]))
    return choose_rule(readings, gated, correct, gates)


class Teller:
    """Says what stands in the answer."""

    def __init__(self):
        self.texts = []

    def predict_proba(self, queries, answers):
        self.texts += [answer.text for answer in answers]
        return np.array([float(answer.text.split()[0]) for answer in answers])


def released(rule, prefixes, gate):
    """Which answers are released, by the whole world's scores."""
    sure = np.zeros(len(prefixes), bool)
    if rule.bar(gate) is not None:
        for column, words in enumerate(CHECKPOINTS):
            if words in rule.readers:
                known = ~np.isnan(prefixes[:, column])
                sure[known] |= rule.readers[words].calibrator(prefixes[known, column]) >= rule.bar(gate)
    return sure


@pytest.mark.parametrize(("blur", "share"), [(1.0, 0.3), (3.0, 0.2), (30.0, 0.0)])
def test_released_answers_are_as_right_as_accepted_ones_but_for_one_fit_in_twenty(blur, share):
    fits = 100
    prefixes, gated, correct = world(50_000, seed=0, blur=blur)
    wrong = dict.fromkeys(GATES, 0)
    shares = []
    for seed in range(1, fits + 1):
        rule = rule_of(*world(500, seed, blur=blur), GATES)
        for gate in GATES:
            early = released(rule, prefixes, gate)
            wrong[gate] += early.any() and correct[early].mean() < correct[gated >= gate].mean()
        shares.append(released(rule, prefixes, GATES[0]).mean())
    assert max(wrong.values()) <= 0.05 * fits
    assert np.mean(shares) >= share, "and there is something to be had"


def test_answers_of_equal_scores_are_released_together_or_not_at_all():
    prefixes = np.full((400, len(CHECKPOINTS)), np.nan)
    prefixes[:, 0] = 0.5
    correct = np.arange(400) < 200
    assert rule_of(prefixes, correct * 0.5 + 0.3, correct.astype(float), [0.5]).bars == ()


def test_luck_releases_nothing():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(50):
        prefixes = np.full((400, len(CHECKPOINTS)), np.nan)
        prefixes[:, 0] = rng.random(400)
        gated = rng.random(400)
        rule = rule_of(prefixes, gated, (rng.random(400) < gated).astype(float), [0.5])
        found += bool(rule.bars)
    assert found <= 3


def test_answers_that_the_gate_would_reject_count_against_a_bar():
    # The surest 100 beginnings are of right answers; the others are of wrong ones, which the gate rejects.
    prefixes = np.full((400, len(CHECKPOINTS)), np.nan)
    prefixes[:200, 0] = np.repeat([0.9, 0.5], 100)
    correct = np.concatenate([np.ones(100), np.zeros(100), np.tile([1.0, 1.0, 1.0, 0.0], 50)])
    gated = np.where(np.arange(400) // 100 == 1, 0.1, 0.9)
    rule = rule_of(prefixes, gated, correct, [0.5])
    bar = rule.bar(0.5)
    assert rule.readers[4].calibrator([0.9])[0] >= bar > rule.readers[4].calibrator([0.5])[0]


def test_other_gates_take_the_threshold_of_the_next_higher_one():
    rule = ReleaseRule(gates=(0.4, 0.6), bars=(0.8, 0.9))
    assert [rule.bar(gate) for gate in (0.1, 0.4, 0.41, 0.6, 0.61)] == [0.8, 0.8, 0.9, 0.9, None]
    assert ReleaseRule().bar(0.0) is None


def test_a_higher_gate_never_has_a_lower_threshold():
    rule = rule_of(*world(800, 1, blur=1.0), np.linspace(0.2, 0.8, 7))
    assert len(rule.bars) > 2
    assert list(rule.bars) == sorted(rule.bars)


def test_where_every_accepted_answer_is_right_nothing_is_released():
    prefixes, _, _ = world(500, 1, blur=1.0)
    rule = rule_of(prefixes, np.ones(500), np.ones(500), [0.5])
    assert rule.gates == ()


def test_the_sample_holds_one_answer_of_each_query():
    queries = [n // 3 for n in range(600)]
    rows = sample(queries, seed=0)
    assert sorted(queries[row] for row in rows) == list(range(200))
    assert len({row % 3 for row in rows}) == 3, "any of its runs"
    assert len(sample(range(3000), seed=0)) == MAX_ANSWERS
    assert len(set(sample(range(3000), seed=0) // 1000)) == 3, "from everywhere"


def test_an_answer_so_far_is_read_up_to_its_last_checkpoint():
    teller = Teller()
    readers = {
        4: CalibratedEstimator(teller, Calibrator()),
        8: CalibratedEstimator(teller, Calibrator(platt=(0.0, 0.0))),
    }
    rule = ReleaseRule((0.5,), (0.7,), readers)
    assert rule.read("?", cc.Answer("0.9 two three"), 0.5) is None
    found = rule.read("?", cc.Answer("0.9 two three four five"), 0.5)
    assert (found.words, found.score, found.threshold) == (4, 0.9, 0.7)
    assert rule.read("?", cc.Answer("0.9 2 3 4 5 6 7 8"), 0.5) is None, "not so sure at eight words"
    assert rule.read("?", cc.Answer("0.9 two three four five"), 0.6) is None, "no threshold for this gate"
    assert teller.texts == ["0.9 two three four", "0.9 2 3 4 5 6 7 8"]
