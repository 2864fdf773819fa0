import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade_components as cc
from cascade_components.calibration import expected_calibration_error

QUERY = "2 + 2?"


def world(count, seed=0, margins=True, logprobs=False):
    """P(correct) is the square of the mean margin: monotone, and far from the margin itself."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.1, 0.9, count)
    answers = [
        cc.Answer(
            "4",
            model="small",
            token_margins=(mean - 0.1, mean + 0.1) if margins else None,
            token_logprobs=(np.log(mean),) * 3 if logprobs else None,
        )
        for mean in level
    ]
    return [QUERY] * count, answers, (rng.random(count) < level**2).astype(float), level**2


def test_margins_become_probabilities():
    estimator = cc.MarginEstimator().fit(*world(3000)[:3])
    queries, answers, correct, truth = world(3000, seed=1)
    scores = estimator.predict_proba(queries, answers)
    assert np.abs(scores - truth).mean() < 0.04
    assert expected_calibration_error(scores, correct) < 0.04
    raw = [np.mean(answer.token_margins) for answer in answers]
    assert expected_calibration_error(raw, correct) > 0.15, "the margin itself is no probability"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=10, max_size=40), st.lists(st.floats(0, 1)))
def test_surer_is_never_judged_worse_and_nothing_is_certain(seen, asked):
    answers = [cc.Answer("4", token_margins=(margin,)) for margin, _ in seen]
    estimator = cc.MarginEstimator().fit([QUERY] * len(seen), answers, [label for _, label in seen])
    new = [cc.Answer("5", token_margins=(margin,)) for margin in sorted(asked)]
    scores = estimator.predict_proba([QUERY] * len(new), new)
    assert (np.diff(scores) >= 0).all()
    assert ((scores > 0) & (scores < 1)).all()


def test_log_probabilities_stand_in_for_margins():
    estimator = cc.MarginEstimator().fit(*world(3000, margins=False, logprobs=True)[:3])
    queries, answers, _, truth = world(500, seed=1, margins=False, logprobs=True)
    assert np.abs(estimator.predict_proba(queries, answers) - truth).mean() < 0.04


def test_each_signal_has_a_map_of_its_own():
    """Margins and probabilities of the same answer are different numbers."""
    queries, answers, correct, _ = world(2000)
    both = [cc.Answer("4", token_margins=a.token_margins, token_logprobs=(np.log(0.5),) * 2) for a in answers]
    estimator = cc.MarginEstimator().fit(queries, both, correct)
    sure = cc.Answer("4", token_margins=(0.85,), token_logprobs=(np.log(0.5),))
    alike = cc.Answer("4", token_logprobs=(np.log(0.5),))
    nothing = cc.Answer("4")
    scores = estimator.predict_proba([QUERY] * 3, [sure, alike, nothing])
    assert scores[0] > 0.6
    assert scores[1:] == pytest.approx([correct.mean()] * 2, abs=0.01)


def test_a_signal_that_was_not_seen_in_training_is_not_read():
    estimator = cc.MarginEstimator().fit(*world(200)[:3])
    share = estimator.predict_proba([QUERY], [cc.Answer("4")])
    assert estimator.predict_proba([QUERY], [cc.Answer("4", token_logprobs=(-0.01,))]) == share


def test_errors_say_what_to_do():
    queries, answers, correct, _ = world(20, margins=False)
    with pytest.raises(RuntimeError, match="call fit first"):
        cc.MarginEstimator().predict_proba(queries, answers)
    with pytest.raises(ValueError, match="None of 20 answers of small has token_margins or token_logprobs"):
        cc.MarginEstimator().fit(queries, answers, correct)
    with pytest.raises(ValueError, match="at least 10"):
        cc.MarginEstimator().fit(queries[:5], answers[:5], correct[:5])
    with pytest.raises(ValueError, match="correct must lie in 0…1; found nan in row 0"):
        cc.MarginEstimator().fit(queries, answers, [float("nan"), *correct[1:]])


def test_it_is_json_data():
    estimator = cc.MarginEstimator().fit(*world(200)[:3])
    copy = cc.MarginEstimator.from_arrays(json.loads(json.dumps(estimator.config)), estimator.arrays())
    queries, answers, _, _ = world(50, seed=1)
    assert (copy.predict_proba(queries, answers) == estimator.predict_proba(queries, answers)).all()


def test_serving_it_takes_neither_torch_nor_sklearn():
    config = {"maps": {"margin": [[0.1, 0.9], [0.2, 0.8]]}, "share": 0.5}
    script = (
        f"import sys, cascade_components as cc; found = cc.MarginEstimator.from_arrays({config!r})\n"
        "print(found.predict_proba(['q'], [cc.Answer('a', token_margins=(0.5,))])[0])\n"
        "print(*({'torch', 'sklearn', 'scipy', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.5"]
