"""The loop of start, judge and fail on a scripted policy."""

import dataclasses
from urllib.error import HTTPError

import pytest

import cascade_components as cc

LADDER = ("small", "medium", "large")


class Scripted:
    """A policy that says what it is told; scores are read off the answer's text."""

    models = LADDER
    fingerprint = "f00d"

    def __init__(self, plan):
        self.plan = plan

    def route(self, query, available):
        plan = self.plan if self.plan.start in available else cc.Plan(max(available, key=LADDER.index))
        if plan.target not in available:
            plan = cc.Plan(plan.start)
        return cc.Route(plan, 0, 0.5, f"cluster 0: {plan}")

    def estimator(self, model):
        return self

    def early_release(self, query, answer, threshold):
        assert answer.model == self.plan.start
        score = float(answer.text.split()[0])
        return cc.EarlyRelease(4, score, threshold + 0.2) if score >= threshold + 0.2 else None

    def predict_proba(self, queries, answers):
        assert all(answer.model for answer in answers)
        return [float(answer.text) for answer in answers]


GATED = cc.Plan("small", "large", 0.7)


@pytest.fixture
def cascade():
    return cc.Cascade(Scripted(GATED))


def test_a_good_answer_is_accepted(cascade):
    trace = cascade.judge(cascade.start("?"), "0.7")
    assert (trace.done, trace.model, trace.path, trace.scores, trace.escalated) == (
        True,
        "small",
        ("small",),
        (0.7,),
        False,
    )


def test_a_weak_answer_is_escalated_and_the_next_one_stands(cascade):
    trace = cascade.judge(cascade.start("?"), cc.Answer("0.69"))
    assert (trace.done, trace.model, trace.escalated, trace.gated) == (False, "large", True, False)
    trace = cascade.judge(trace, "whatever")
    assert (trace.done, trace.model, trace.path, trace.scores) == (True, "large", ("small", "large"), (0.69, None))
    assert "small scored 0.69, below 0.70: large is asked" in trace.reason


def test_an_ungated_answer_stands():
    cascade = cc.Cascade(Scripted(cc.Plan("medium")))
    trace = cascade.start("?")
    assert not trace.gated
    assert cascade.judge(trace, "0.0").done


@pytest.mark.parametrize("plan", [GATED, cc.Plan("small")])
def test_a_failed_check_is_a_weak_answer_gated_or_not(plan):
    cascade = cc.Cascade(Scripted(plan))
    trace = cascade.judge(cascade.start("?"), "0.99", failed_checks=("unknown_tool",))
    assert (trace.done, trace.model, trace.failed_checks) == (False, "large", ("unknown_tool",))


def test_a_failed_check_of_the_strongest_stands_for_want_of_a_stronger(cascade):
    trace = cascade.judge(cascade.start("?", model="large"), "", failed_checks=("empty",))
    assert (trace.done, trace.model) == (True, "large")
    assert "no stronger model is left" in trace.reason


def test_tool_calls_alone_are_judged_by_checks_alone(cascade):
    answer = cc.Answer("", tool_calls=({"name": "search", "args": {}},))
    assert cascade.judge(cascade.start("?"), answer).scores == (None,)


def test_a_model_that_fails_gives_way_to_the_next_plan(cascade):
    trace = cascade.fail(cascade.start("?"), TimeoutError())
    assert (trace.model, trace.path, trace.done) == ("large", ("small", "large"), False)
    assert trace.to_dict()["failures"] == [{"model": "small", "error": "TimeoutError"}]


def test_when_the_escalation_fails_another_stronger_model_is_asked_then_the_draft_stands(cascade):
    trace = cascade.judge(cascade.start("?"), "0.1")
    trace = cascade.fail(trace, TimeoutError())
    assert trace.model == "medium"
    trace = cascade.fail(trace, TimeoutError())
    assert (trace.done, trace.model) == (True, "small")
    assert "the answer of small stands" in trace.reason


def test_when_all_fail_every_cause_is_carried_and_the_message_tells_no_secret(cascade):
    refused = HTTPError("http://localhost?key=sk-123", 401, "sk-123 is no key", None, None)
    trace = cascade.fail(cascade.fail(cascade.start("?"), TimeoutError("sk-123")), refused)
    with pytest.raises(cc.AllModelsFailed) as caught:
        cascade.fail(trace, OSError("sk-123"))
    assert caught.value.message == (
        "Every model of the cascade failed (small: TimeoutError; large: HTTPError, HTTP 401; medium: OSError)"
    )
    assert [type(error) for error in caught.value.exceptions] == [TimeoutError, HTTPError, OSError]


def test_no_escalation_on_request(cascade):
    trace = cascade.start("?", escalate=False)
    assert not trace.gated
    assert cascade.fail(trace, TimeoutError()).escalate is False


def test_a_model_asked_for_by_name_stands(cascade):
    trace = cascade.start("?", model="medium")
    assert (trace.model, trace.gated, trace.cluster) == ("medium", False, None)


@pytest.mark.parametrize(
    ("query", "kwargs", "message"),
    [
        (" \n", {}, "empty"),
        ("?", {"available": {"small", "huge"}}, "huge not in the policy; the policy knows small, medium, large"),
        ("?", {"available": ()}, "No model is available"),
        ("?", {"model": "huge"}, "huge not in the policy"),
    ],
)
def test_bad_input_is_refused(cascade, query, kwargs, message):
    with pytest.raises(ValueError, match=message):
        cascade.start(query, **kwargs)


def test_a_done_trace_is_done(cascade):
    trace = cascade.judge(cascade.start("?"), "0.9")
    with pytest.raises(ValueError, match="done"):
        cascade.judge(trace, "0.9")
    with pytest.raises(ValueError, match="done"):
        cascade.fail(trace, ValueError())


def test_a_trace_is_frozen_and_tells_no_secrets(cascade):
    trace = cascade.fail(cascade.start("my password is hunter2"), ValueError("key sk-123"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        trace.model = "large"
    assert "hunter2" not in repr(trace) + str(trace.to_dict())
    assert "sk-123" not in repr(trace) + str(trace.to_dict())


class TestRelease:
    def test_a_sure_beginning_is_released_and_the_estimator_can_no_longer_reject(self, cascade):
        trace = cascade.start("?")
        released = cascade.release(trace, cc.Answer("0.97 and so"))
        assert (released.gated, released.done, released.model, released.released) == (False, False, "small", 0.97)
        assert "small is released after 4 words: scored 0.97, at or above 0.90" in released.reason
        assert (trace.gated, trace.released) == (True, None)
        judged = cascade.judge(released, "0.0 and so on")
        assert (judged.done, judged.model, judged.scores, judged.escalated) == (True, "small", (0.97,), False)
        assert judged.to_dict()["released"] == 0.97

    def test_an_unsure_one_is_held_by_the_very_same_trace(self, cascade):
        trace = cascade.start("?")
        assert cascade.release(trace, cc.Answer("0.89")) is trace
        assert trace.to_dict()["released"] is None

    def test_a_failed_check_is_a_weak_answer_still(self, cascade):
        released = cascade.release(cascade.start("?"), cc.Answer("0.97"))
        trace = cascade.judge(released, "0.97", failed_checks=("truncated",))
        assert (trace.model, trace.scores, trace.released, trace.escalated) == ("large", (None,), None, True)
        assert cascade.judge(trace, "x").scores == (None, None)

    def test_a_released_answer_that_breaks_off_is_asked_again(self, cascade):
        trace = cascade.fail(cascade.release(cascade.start("?"), cc.Answer("0.97")), TimeoutError())
        assert (trace.model, trace.released) == ("large", None)

    def test_what_is_not_gated_is_not_released(self, cascade):
        for trace in (cascade.start("?", model="small"), cascade.start("?", escalate=False)):
            assert cascade.release(trace, cc.Answer("0.97")) is trace

    def test_a_done_trace_is_done(self, cascade):
        with pytest.raises(ValueError, match="done"):
            cascade.release(cascade.judge(cascade.start("?"), "0.9"), cc.Answer("0.97"))

    def test_a_router_need_not_know_of_it(self):
        class Plain:
            models, fingerprint = LADDER, "f00d"
            route = Scripted.route
            plan = GATED

        cascade = cc.Cascade(Plain())
        trace = cascade.start("?")
        assert cascade.release(trace, cc.Answer("0.97")) is trace
