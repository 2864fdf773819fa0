import pytest

import cascade_components as cc
from cascade_components.answers import Answer
from cascade_components.serving.account import Usage
from cascade_components.serving.call import Serving
from cascade_components.serving.settings import CallSettings

from .conftest import GATED

USAGE = Usage(10, 5)
GOOD, CUT = Answer("a fine answer"), Answer("a fine", finish_reason="length")


def passed(call, answer=GOOD, usage=USAGE, **judged):
    name = call.open_pass()
    call.close_pass(answer, usage, None if usage is None else {"input_tokens": usage.input_tokens})
    call.judge(answer, **judged)
    return name


def test_an_accepted_answer(begun, policy):
    call = begun(policy(GATED, 0.9))
    assert call.held
    assert passed(call) == "small"
    summary = call.summary()
    assert (summary["done"], summary["path"], summary["scores"]) == (True, ["small"], [0.9])
    assert summary["cost_usd"] == pytest.approx(0.015)
    (only,) = summary["passes"]
    assert (only["model"], only["usage"], only["reason"]) == ("small", {"input_tokens": 10}, summary["reasons"][0])
    assert call.accepted.answer is GOOD


def test_a_rejected_answer_is_paid_for_and_replaced(begun, policy):
    call = begun(policy(GATED, 0.1))
    assert passed(call) == "small"
    assert passed(call, usage=None) == "large"
    assert (call.trace.done, call.summary()["cost_usd"]) == (True, None)
    assert [one.model for one in call.passes] == ["small", "large"]
    assert call.accepted.model == "large"


@pytest.mark.parametrize(
    ("turn", "heard", "held", "streaming"),
    [
        ({}, False, True, False),  # a check may reject what nobody sees
        ({"live": True}, False, False, True),
        ({"live": True, "shaped": True}, False, True, False),
        ({}, True, False, False),
    ],
)
def test_what_is_held_and_what_streams_without_a_gate(begun, policy, turn, heard, held, streaming):
    call = begun(policy(), heard=heard, **turn)
    assert (call.held, call.streaming) == (held, streaming)


def test_a_failed_check_escalates_unless_it_was_seen(begun, policy):
    call = begun(policy())
    passed(call, CUT)
    assert (call.trace.model, call.trace.failed_checks) == ("large", ("truncated",))

    call = begun(policy(), live=True)
    call.open_pass()
    call.seen = True
    call.close_pass(CUT, None, None)
    call.judge(CUT)
    assert (call.trace.done, call.trace.model, call.trace.failed_checks) == (True, "small", ("truncated",))
    assert "after it had been streamed" in call.trace.reason

    call = begun(policy())
    passed(call, parsed=False)
    assert call.trace.failed_checks == ("unparsable",)


def test_early_release(begun, policy):
    call = begun(policy(GATED, 0.1, sure=True), live=True, serving={"release": "early"})
    call.open_pass()
    assert (call.held, call.streaming) == (True, True)
    assert [call.read(text) for text in ("one two", "one two three four", "one two three four five")] == [
        False,
        True,
        False,
    ]
    call.consider_release(Answer("one two three four"))
    assert (call.held, call.trace.released) == (False, 0.95)
    call.close_pass(GOOD, None, None)
    call.judge(GOOD)
    assert (call.trace.model, call.trace.scores) == ("small", (0.95,))


def test_a_failure_asks_the_next_model_and_all_failures_are_one_error(begun, policy):
    call = begun(policy())
    call.open_pass()
    call.fail(TimeoutError("slow"))
    assert call.trace.model == "large"
    call.open_pass()
    with pytest.raises(cc.AllModelsFailed):
        call.fail(TimeoutError("slow"))


def test_a_failure_after_something_was_seen_is_the_callers(begun, policy):
    call = begun(policy(), live=True)
    call.open_pass()
    call.seen = True
    with pytest.raises(TimeoutError) as error:
        call.fail(TimeoutError("slow"))
    assert "nobody else was asked" in error.value.__notes__[0]


def test_an_abandoned_pass_counts_as_spent(begun, policy):
    limit = cc.SpendLimit(1.0, near=1.0)
    call = begun(policy(), serving={"spend_limit": limit}, prompt_tokens=10)
    call.open_pass()
    call.abandon()
    assert limit.spent() == pytest.approx(0.02)


def test_operating_points_are_solved_once_and_the_last_ones_kept(policy):
    found = policy()
    serving = Serving(found)
    for number in range(40):
        serving.policy_for(CallSettings(("budget", float(number))), None)
        serving.policy_for(CallSettings(("budget", float(number))), None)
    assert len(found.points) == 40
    assert serving.policy_for(CallSettings(), None) is found
    serving.policy_for(CallSettings(("budget", 0.0)), None)
    assert len(found.points) == 41


def test_near_a_limit_the_policy_is_cheaper(policy):
    found, limit = policy(), cc.SpendLimit(1.0, near=0.5)
    serving = Serving(found, spend_limit=limit)
    assert serving.policy_for(CallSettings(("budget", 0.1)), None) is not found
    limit.reserve("small", 0.75).settle(0.75)
    serving.policy_for(CallSettings(("budget", 0.1)), None)
    assert found.points == [{"budget": 0.1}, {"budget": 0.1}, ("cheaper", 0.5)]  # cheaper than what the call asks for
