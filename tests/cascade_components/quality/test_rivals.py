import numpy as np
import pytest

import cascade_components as cc
from cascade_components.calibration import Calibrator
from cascade_components.quality.calibrated import WEAK, CalibratedEstimator, Rival
from cascade_components.quality.rivals import choose_rival
from cascade_components.quality.training import OutOfFold


class Says:
    """Estimates what the answer's text says."""

    def __init__(self, word):
        self.word = word

    def predict_proba(self, queries, answers):
        return np.array([float(answer.text.split()[self.word]) for answer in answers])


def estimator(weight):
    rival = Rival(Says(1), weight, mean=0.8)
    return CalibratedEstimator(Says(0), Calibrator(), rival)


def test_an_answer_may_be_weaker_where_the_strongest_model_is_likely_to_fail_too():
    judge = estimator(0.5)
    answers = [cc.Answer("0.4 0.2"), cc.Answer("0.4 0.8"), cc.Answer("0.4 1.0"), cc.Answer("")]
    assert judge.predict_proba([""] * 3, answers[:3]).tolist() == [0.4] * 3
    assert judge.handicap([""] * 3, answers[:3]) == pytest.approx([0.3, 0.0, -0.1])
    assert judge.gate_scores([""] * 3, answers[:3]) == pytest.approx([0.7, 0.4, 0.3])
    truncated = cc.Answer("0.9 0.9", finish_reason="length")
    assert judge.gate_scores([""], [truncated]).tolist() == [WEAK]


@pytest.mark.parametrize(("related", "wanted"), [(True, 0.5), (False, 0.0)])
def test_the_weight_is_what_gains_most(related, wanted):
    rng = np.random.default_rng(0)
    own, chance = rng.random((2, 4000))
    correct = (rng.random(4000) < own).astype(float)
    won = (rng.random(4000) < (chance if related else 0.8)).astype(float)
    trained = OutOfFold(Says(1), chance, (), np.zeros(4000, int))
    found = choose_rival(trained, own, correct, won, [cc.Answer("x")] * 4000)
    assert (found.weight >= wanted) if related else (found.weight == wanted)


def test_the_cascade_says_why_its_bar_moved():
    class Policy:
        models, fingerprint = ("small", "large"), "f"

        def route(self, query, available):
            return cc.Route(cc.Plan("small", "large", 0.5), 0, 0.0, "cluster 0")

        def estimator(self, model):
            return estimator(1.0)

    cascade = cc.Cascade(Policy())
    hard = cascade.judge(cascade.start("q"), "0.4 0.6")
    assert hard.done
    assert hard.scores == (0.4,)
    assert "at or above 0.30 (the strongest model has less of a chance than usual)" in hard.reason
    easy = cascade.judge(cascade.start("q"), "0.55 0.95")
    assert easy.model == "large"
    assert "below 0.65 (the strongest model has more of a chance than usual)" in easy.reason
