import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_components.calibration import Calibrator, expected_calibration_error, fit_calibrator, reliability


def overconfident(count, seed=0):
    """Scores s whose true share of correct answers is 0.25 + s / 2."""
    rng = np.random.default_rng(seed)
    scores = rng.random(count)
    return scores, (rng.random(count) < 0.25 + scores / 2).astype(float)


@pytest.mark.parametrize(("count", "kind"), [(900, "platt"), (3000, "knots")])
def test_calibration_lowers_the_error_on_new_answers(count, kind):
    calibrator = fit_calibrator(*overconfident(count))
    assert getattr(calibrator, kind) is not None
    scores, labels = overconfident(5000, seed=1)
    before = expected_calibration_error(scores, labels)
    after = expected_calibration_error(calibrator(scores), labels)
    assert after < 0.05 < 0.1 < before


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=60))
def test_it_never_turns_the_order_round_and_stays_a_probability(pairs):
    calibrator = fit_calibrator([score for score, _ in pairs], [label for _, label in pairs])
    mapped = calibrator(np.linspace(0, 1, 50))
    assert (np.diff(mapped) >= -1e-9).all()
    assert ((mapped >= 0) & (mapped <= 1)).all()


def test_scores_that_mean_nothing_become_the_mean():
    rng = np.random.default_rng(0)
    scores = rng.random(800)
    calibrator = fit_calibrator(1 - scores, (rng.random(800) < 0.3 + 0.4 * scores).astype(float))
    assert np.ptp(calibrator([0.1, 0.9])) == 0
    assert calibrator([0.5])[0] == pytest.approx(0.5, abs=0.05)


def test_without_parameters_it_changes_nothing():
    assert Calibrator()([0.2, 0.7]).tolist() == [0.2, 0.7]


def test_the_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape"):
        fit_calibrator([0.5], [1, 0])


def test_reliability_counts_every_answer_once():
    scores, labels = overconfident(500)
    rows = reliability(scores, labels)
    assert sum(count for *_, count in rows) == 500
    assert expected_calibration_error([1.0, 1.0, 0.0], [1, 1, 0]) == 0
