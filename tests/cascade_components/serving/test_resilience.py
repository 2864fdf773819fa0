import copy
import json
import pickle

import pytest

import cascade_components as cc
from cascade_components.serving.health import Health
from cascade_components.serving.latencies import Latencies


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"timeout": 0}, "timeout must be a positive number of seconds; found 0"),
        ({"hedge": {"small": float("nan")}}, "hedge of small must be a positive number"),
        ({"retries": -1}, "retries must be a number of times, 0 or more"),
        ({"cool_down": 20, "cool_down_most": 10}, "cool_down_most must be at least cool_down"),
        ({"failures_to_open": 0}, "failures_to_open"),
        ({"retry": "always"}, "retry must be one of last, each; found 'always'"),
        ({"broken_stream": "ignore"}, "broken_stream must be one of error, restart"),
        ({"estimator_deadline_ms": 0}, "estimator_deadline_ms"),
        ({"on_estimator_failure": "raise"}, "on_estimator_failure"),
    ],
)
def test_settings_out_of_range_are_refused(setting, problem):
    with pytest.raises(ValueError, match=problem):
        cc.Resilience(**setting)


def test_settings_for_a_model_that_is_not_there_are_refused():
    cc.Resilience(timeout=3).check_models(["small"])
    with pytest.raises(ValueError, match="timeout names huge; the policy knows small, large"):
        cc.Resilience(timeout={"huge": 3, "small": 1}).check_models(["small", "large"])


def test_settings_are_plain_data():
    given = cc.Resilience(timeout={"small": 3.0}, hedge=1.5, retries=2, broken_stream="restart")
    assert cc.Resilience(**json.loads(json.dumps(given.to_dict()))) == given


def test_times_of_calls_are_bounded_and_few_are_not_enough():
    latencies = Latencies()
    for seconds in range(19):
        latencies.add("small", seconds)
    assert latencies.p95("small") is None
    for _ in range(10_000):
        latencies.add("small", 2.0)
    assert latencies.p95("small") == 2.0
    assert len(latencies._latest["small"]) <= 128


def test_copies_have_learnt_nothing():
    health = Health()
    health.circuits.failed("small", TimeoutError(), cc.Resilience(failures_to_open=1, failing_for=0), asked_at=0)
    assert health.circuits.admit(["small", "large"]).models == {"large"}
    for fresh in (copy.deepcopy(health), pickle.loads(pickle.dumps(health))):
        assert fresh.circuits.admit(["small", "large"]).models == {"small", "large"}
