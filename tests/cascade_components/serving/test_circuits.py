"""When a model is left out, for how long, and how it comes back."""

import logging

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import cascade_components as cc
from cascade_components.serving.circuits import Circuits

BOTH = ("small", "large")
SETTINGS = cc.Resilience(failures_to_open=3, failing_for=0, cool_down=10, cool_down_most=35)


class LimitedError(Exception):
    """A rate limit."""

    def __init__(self, retry_after):
        super().__init__("secret words")
        self.response = httpx.Response(429, headers={"Retry-After": retry_after})


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def circuits(clock):
    return Circuits(clock)


def fail(circuits, times=1, error=None, settings=SETTINGS, **more):
    for _ in range(times):
        given = {"asked_at": circuits.mark("large"), **more}
        circuits.failed("large", error or TimeoutError("secret words"), settings, **given)


def test_failures_in_a_row_open_a_circuit_and_an_answer_between_them_does_not(circuits):
    fail(circuits, 2)
    circuits.answered("large", circuits.mark("large"))
    fail(circuits, 2)
    assert circuits.admit(BOTH).models == set(BOTH)
    fail(circuits)
    found = circuits.admit(BOTH)
    assert (found.models, found.out) == ({"small"}, {"large": "failing, out for 10 s more"})


def test_many_failures_at_one_moment_are_one_hiccup(circuits, clock):
    lasting = cc.Resilience(failures_to_open=3, failing_for=5)
    fail(circuits, 200, settings=lasting)
    assert circuits.admit(BOTH).models == set(BOTH)
    clock.now += 5
    fail(circuits, settings=lasting)
    assert circuits.admit(BOTH).models == {"small"}


def test_what_is_the_requests_fault_does_not_count(circuits):
    fail(circuits, 10, ValueError("too long"))
    fail(circuits, 10, settings=cc.Resilience(breaker=False, failures_to_open=1, failing_for=0))
    assert circuits.admit(BOTH).models == set(BOTH)


def test_a_rate_limit_opens_at_once_until_its_retry_after_at_most(circuits, clock):
    fail(circuits, error=LimitedError("12"))
    assert circuits.admit(BOTH).out == {"large": "rate limited for 12 s more"}
    clock.now += 12
    assert circuits.admit(BOTH).trials == {"large"}
    fail(circuits, error=LimitedError("7200"), trial=True)
    clock.now += 34.5
    assert circuits.admit(BOTH).out == {"large": "rate limited for 1 s more"}


def test_one_call_at_a_time_tries_whether_it_is_back(circuits, clock):
    fail(circuits, 3)
    clock.now += 10
    assert circuits.admit(BOTH).trials == {"large"}
    assert circuits.admit(BOTH).out == {"large": "another call tries whether it is back"}
    assert circuits.admit(BOTH, on_trial={"large"}).models == set(BOTH)
    circuits.give_up_trial("large")
    assert circuits.admit(BOTH).trials == {"large"}
    circuits.answered("large", circuits.mark("large"))
    assert circuits.admit(BOTH).trials == frozenset()
    assert circuits.admit(BOTH).models == set(BOTH)


def test_a_trial_that_is_never_reported_does_not_keep_a_model_out(circuits, clock):
    fail(circuits, 3)
    clock.now += 10
    circuits.admit(BOTH)
    clock.now += 60
    assert circuits.admit(BOTH).trials == {"large"}


def test_a_failed_trial_opens_it_for_longer_up_to_a_cap(circuits, clock):
    fail(circuits, 3)
    seconds = []
    for _ in range(4):
        seconds.append(circuits.admit(BOTH).out["large"])
        clock.now += 100
        assert circuits.admit(BOTH).trials == {"large"}
        fail(circuits, trial=True)
    assert seconds == [f"failing, out for {number} s more" for number in (10, 20, 35, 35)]
    fail(circuits, 50)  # asked although it is out, for everybody is
    assert circuits.admit(BOTH).out == {"large": "failing, out for 35 s more"}


def test_calls_from_before_it_opened_change_nothing(circuits):
    before = circuits.mark("large")
    fail(circuits, 3)
    circuits.answered("large", before)
    fail(circuits, 5, error=LimitedError("30"), asked_at=before)
    assert circuits.admit(BOTH).out == {"large": "failing, out for 10 s more"}
    circuits.answered("large", circuits.mark("large"))
    assert circuits.admit(BOTH).models == set(BOTH)


def test_if_all_are_out_none_is_left_out(circuits):
    fail(circuits, 3)
    assert circuits.admit(["large"]).models == {"large"}
    assert circuits.admit(["large"]).out == {}


def test_each_change_is_logged_once_and_says_nothing_secret(circuits, clock, caplog):
    caplog.set_level(logging.INFO)
    fail(circuits, 9)
    for _ in range(3):
        circuits.admit(BOTH)
    clock.now += 10
    for _ in range(3):
        circuits.admit(BOTH)
    fail(circuits, error=LimitedError("12"), trial=True)
    clock.now += 12
    circuits.admit(BOTH)
    for _ in range(2):
        circuits.answered("large", circuits.mark("large"))
    assert [record.getMessage() for record in caplog.records] == [
        "large is left out for 10 s: failing, out (TimeoutError).",
        "large is tried again by one call.",
        "large is left out for 12 s: rate limited (LimitedError, HTTP 429).",
        "large is tried again by one call.",
        "large answers again and is asked as before.",
    ]


@given(st.lists(st.tuples(st.sampled_from(["fail", "answer", "limit", "admit"]), st.integers(0, 50)), max_size=40))
@examples(max_examples=60)
def test_whatever_happens_it_comes_back(steps):
    clock = Clock()
    circuits = Circuits(clock)
    for step, seconds in steps:
        clock.now += seconds
        trial = "large" in circuits.admit(BOTH).trials
        if step == "answer":
            circuits.answered("large", circuits.mark("large"))
        elif step != "admit":
            error = TimeoutError() if step == "fail" else LimitedError("40")
            circuits.failed("large", error, SETTINGS, asked_at=circuits.mark("large"), trial=trial)
    clock.now += 60  # the longest pause, or a trial that nobody reported
    assert "large" in circuits.admit(BOTH).models
    circuits.answered("large", circuits.mark("large"))
    assert circuits.admit(BOTH).out == {}
