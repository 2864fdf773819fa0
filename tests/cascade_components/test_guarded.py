"""Whatever becomes of an estimator, every answer comes to an end: accepted, or escalated."""

import logging
import threading
import time
from contextvars import ContextVar

import numpy as np
import pytest

import cascade_components as cc
from cascade_components import guarded
from cascade_components.guarded import EstimatorFailures
from cascade_components.workers import Late, Workers
from tests.cascade_components.test_cascade import GATED, Scripted

SECRET = "sk-123"


class Faulty(Scripted):
    """A policy whose estimator, and reader of beginnings, do what they are told."""

    def __init__(self, act, plan=GATED):
        super().__init__(plan)
        self.act = act

    def early_release(self, query, answer, threshold):
        return cc.EarlyRelease(4, self.act(), threshold)

    def predict_proba(self, queries, answers):
        return self.act()


def raises():
    raise RuntimeError(f"cannot read {SECRET}")


class Panic(BaseException):
    """As code in Rust raises."""


def panics():
    raise Panic


FAULTS = {
    "panics": (panics, "Panic"),
    "raises": (raises, "RuntimeError"),
    "nan": (lambda: [float("nan")], "a score that is no probability"),
    "infinite": (lambda: [np.inf], "a score that is no probability"),
    "above 1": (lambda: np.array([1.5]), "a score that is no probability"),
    "below 0": (lambda: [-0.1], "a score that is no probability"),
    "a scalar": (lambda: np.float64(0.9), "scores of a wrong shape"),
    "too many": (lambda: [[0.9], [0.9]], "scores of a wrong shape"),
    "none": (list, "scores of a wrong shape"),
    "words": (lambda: ["sure"], "ValueError"),
    "no answer": (lambda: None, "scores of a wrong shape"),
}


@pytest.fixture
def failures():
    return EstimatorFailures()


@pytest.mark.parametrize("deadline", [None, 5000.0])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_an_estimator_gets_wrong_is_escalated_or_accepted(fault, deadline, failures):
    act, why = FAULTS[fault]
    cascade = cc.Cascade(Faulty(act), estimator_deadline_ms=deadline, estimator_failures=failures)
    trace = cascade.judge(cascade.start("?"), "an answer")
    assert (trace.model, trace.done, trace.scores, trace.failed_checks) == (
        "large",
        False,
        (None,),
        ("estimator_failed",),
    )
    assert trace.reasons[-1] == f"the estimator of small failed ({why}): large is asked"
    assert cascade.judge(trace, "another").done

    cascade = cc.Cascade(Faulty(act), on_estimator_failure="accept", estimator_failures=failures)
    trace = cascade.judge(cascade.start("?"), "an answer")
    assert (trace.model, trace.done, trace.scores, trace.escalated) == ("small", True, (None,), False)
    assert trace.reasons[-1] == f"the estimator of small failed ({why}), so its answer stands"
    assert failures.counts() == {("small in policy f00d", why): 2}


@pytest.mark.parametrize("deadline", [None, 5000.0])
def test_who_ends_the_program_is_not_held_up(deadline, failures):
    def interrupted():
        raise KeyboardInterrupt

    cascade = cc.Cascade(Faulty(interrupted), estimator_deadline_ms=deadline, estimator_failures=failures)
    with pytest.raises(KeyboardInterrupt):
        cascade.judge(cascade.start("?"), "an answer")


def test_a_missing_estimator_a_handicap_without_a_number_and_an_error_of_the_policy_cost_no_answer(failures):
    class Weighed(Faulty):
        def handicap(self, queries, answers):
            return [float("nan")]

    def lost():
        raise KeyError(SECRET)

    for policy in (Faulty(lambda: [0.9]), Weighed(lambda: [0.9])):
        if not isinstance(policy, Weighed):
            policy.estimator = lambda model: None
        cascade = cc.Cascade(policy, estimator_failures=failures)
        assert cascade.judge(cascade.start("?"), "an answer").model == "large"
    policy.estimator = lambda model: lost()
    assert cascade.judge(cascade.start("?"), "an answer").model == "large"
    assert sorted(why for _, why in failures.counts()) == [
        "KeyError",
        "its handicap is no number",
        "the policy has none; fit it again",
    ]


def test_with_nobody_stronger_at_hand_the_answer_stands(failures):
    cascade = cc.Cascade(Faulty(raises), estimator_failures=failures)
    trace = cascade.start("?", route=cc.Route(GATED, 0, 0.0, "told"), available={"small"})
    trace = cascade.judge(trace, "an answer")
    assert (trace.done, trace.model, trace.scores) == (True, "small", (None,))
    assert "no stronger model is left" in trace.reason


def test_a_target_that_is_out_gives_way_to_whoever_is_stronger(failures):
    cascade = cc.Cascade(Faulty(raises), estimator_failures=failures)
    trace = cascade.start("?", route=cc.Route(GATED, 0, 0.0, "told"), available={"small", "medium"})
    assert cascade.judge(trace, "an answer").model == "medium"


@pytest.mark.parametrize("act", [raises, lambda: float("nan"), lambda: 7.0, lambda: "sure"])
def test_a_beginning_that_cannot_be_read_is_held(act, failures):
    cascade = cc.Cascade(Faulty(act), estimator_failures=failures)
    trace = cascade.start("?")
    assert cascade.release(trace, cc.Answer("0.97")) is trace
    assert sum(failures.counts().values()) == 1


def test_the_first_failure_of_each_kind_is_logged_without_what_the_error_says(failures, caplog):
    with caplog.at_level(logging.WARNING):
        for act in (raises, raises, lambda: [np.nan], raises, lambda: [np.nan]):
            # A cascade for each call, as adapters have it.
            cascade = cc.Cascade(Faulty(act), estimator_failures=failures)
            trace = cascade.judge(cascade.start(SECRET), cc.Answer(SECRET))
            assert SECRET not in trace.reason + str(trace.to_dict())
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert "RuntimeError in test_guarded.py, line" in texts[0]
    assert "answers that it cannot read are escalated" in texts[0]
    assert not any(SECRET in text for text in texts)
    assert sorted(failures.counts().values()) == [2, 3]


def test_without_a_counter_failures_count_for_the_process():
    before = sum(guarded.process_failures().counts().values())
    cascade = cc.Cascade(Faulty(raises))
    cascade.judge(cascade.start("?"), "an answer")
    assert sum(guarded.process_failures().counts().values()) == before + 1


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), float("inf")])
def test_a_deadline_is_a_positive_number(deadline):
    with pytest.raises(ValueError, match="estimator_deadline_ms must be a positive number"):
        cc.Cascade(Faulty(raises), estimator_deadline_ms=deadline)


def test_there_are_two_fallbacks():
    with pytest.raises(ValueError, match="on_estimator_failure must be one of escalate, accept; found 'ignore'"):
        cc.Cascade(Faulty(raises), on_estimator_failure="ignore")


class TestDeadline:
    def test_a_slow_estimator_is_not_waited_for(self, failures):
        release = threading.Event()
        cascade = cc.Cascade(
            Faulty(lambda: [0.9] if release.wait(20) else None), estimator_deadline_ms=30, estimator_failures=failures
        )
        started = time.perf_counter()
        trace = cascade.start("?")
        assert cascade.release(trace, cc.Answer("so far")) is trace
        assert cascade.judge(trace, "an answer").reasons[-1] == (
            "the estimator of small failed (slower than 30 ms): large is asked"
        )
        assert time.perf_counter() - started < 5
        release.set()

    def test_a_quick_one_decides_and_sees_the_callers_context(self):
        tenant = ContextVar("tenant", default="nobody")
        seen = []

        def read():
            seen.append((tenant.get(), threading.current_thread() is threading.main_thread()))
            return [0.9]

        tenant.set("somebody")
        cascade = cc.Cascade(Faulty(read), estimator_deadline_ms=5000)
        assert cascade.judge(cascade.start("?"), "an answer").scores == (0.9,)
        assert seen == [("somebody", False)]

    def test_estimators_that_hang_pile_up_no_threads_and_are_refused_at_once(self, failures, monkeypatch):
        workers = Workers(3)
        monkeypatch.setattr(guarded, "_workers", lambda process: workers)
        release = threading.Event()
        before = threading.active_count()
        cascade = cc.Cascade(
            Faulty(lambda: [0.9] if release.wait(20) else None), estimator_deadline_ms=20, estimator_failures=failures
        )
        for _ in range(6):
            assert cascade.judge(cascade.start("?"), "an answer").model == "large"
        assert threading.active_count() - before == 3
        assert failures.counts() == {
            ("small in policy f00d", "slower than 20 ms"): 3,
            ("small in policy f00d", "too many hang"): 3,
        }
        release.set()  # they come back, and serve again
        patient = cc.Cascade(Faulty(lambda: [0.9]), estimator_deadline_ms=5000)
        ends = time.monotonic() + 5
        while not (trace := patient.judge(patient.start("?"), "an answer")).done and time.monotonic() < ends:
            time.sleep(0.01)
        assert trace.scores == (0.9,)


class TestWorkers:
    def test_more_tasks_than_threads_wait_their_turn(self):
        workers, found = Workers(2), []
        callers = [
            threading.Thread(target=lambda n=n: found.append(workers.run(lambda: time.sleep(0.005) or n, 10)))
            for n in range(12)
        ]
        before = threading.active_count()
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert sorted(found) == list(range(12))
        assert threading.active_count() <= before + 2

    def test_an_error_is_raised_where_the_result_is_awaited(self):
        workers = Workers(1)
        with pytest.raises(TimeoutError, match="its own"):
            workers.run(lambda: (_ for _ in ()).throw(TimeoutError("its own")), 10)
        assert workers.run(lambda: 1, 10) == 1

    def test_a_task_that_no_thread_got_to_in_time_is_never_done(self):
        workers, release, done = Workers(1), threading.Event(), []
        for task in (lambda: release.wait(20), lambda: done.append("late")):
            with pytest.raises(Late):
                workers.run(task, 0.02)
        release.set()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                assert workers.run(lambda: 1, 5) == 1
                break
            except Late:
                time.sleep(0.005)
        assert done == []
