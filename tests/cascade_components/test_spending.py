import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cascade_components as cc


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"usd": 0}, "usd must be a positive number of USD, found 0"),
        ({"usd": float("nan")}, "usd"),
        ({"usd": 1, "per": "user"}, '"process" or "thread", found \'user\''),
        ({"usd": 1, "near": 1.5}, "near"),
        ({"usd": 1, "at_limit": "stop"}, "at_limit"),
    ],
)
def test_a_limit_that_makes_no_sense_is_an_error(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        cc.SpendLimit(**arguments)


def test_a_call_that_no_longer_fits_is_refused():
    limit = cc.SpendLimit(1.0)
    first = limit.reserve("small", 0.4)
    assert limit.affords("small", 0.6)
    assert not limit.affords("small", 0.61)
    with pytest.raises(cc.SpendLimitError, match=r"0 USD of 1 are spent, 0\.4 set aside .* Raise the limit"):
        limit.reserve("small", 0.7)
    first.settle(0.1)
    assert limit.spent() == pytest.approx(0.1)
    limit.reserve("small", 0.9).settle(None)  # nobody knows what it cost: what was set aside counts
    assert limit.spent() == pytest.approx(1.0)
    limit.reserve("small", 0.5, force=True).settle(0.5)
    assert limit.spent() == pytest.approx(1.5)
    limit.forget()
    assert limit.spent() == 0.0


def test_what_a_models_calls_cost_corrects_what_they_are_expected_to_cost():
    limit = cc.SpendLimit(1.0)
    limit.reserve("small", 0.0).settle(0.3)
    assert limit.affords("small", 0.7)
    assert limit.affords("large", 0.7)
    limit.reserve("small", 0.0).settle(0.3)
    limit.reserve("small", 0.0).settle(0.3)
    assert not limit.affords("small", 0.0)


def test_each_thread_has_its_own_account():
    limit = cc.SpendLimit(1.0, per="thread")
    limit.reserve("small", 0.9, "a").settle(0.9)
    assert not limit.affords("small", 0.9, "a")
    assert limit.affords("small", 0.9, "b")
    assert (limit.spent("a"), limit.spent("b")) == (0.9, 0.0)
    with pytest.raises(ValueError, match="give the call a thread_id"):
        limit.reserve("small", 0.1)


def test_pressure_grows_from_near_to_the_cap():
    limit = cc.SpendLimit(1.0, near=0.5)
    seen = []
    for _ in range(11):
        seen.append(limit.pressure())
        limit.reserve("small", 0.1, force=True).settle(0.1)
    assert seen[:5] == [0.0] * 5
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(set(seen)) > 3
    assert cc.SpendLimit(1.0, near=1.0).pressure() == 0.0


def test_calls_at_the_same_time_do_not_spend_the_same_money():
    limit, at_once = cc.SpendLimit(1.0), Barrier(50)

    def call(_):
        at_once.wait()
        try:
            limit.reserve("small", 0.1).settle(0.1)
        except cc.SpendLimitError:
            return 0
        return 1

    with ThreadPoolExecutor(50) as threads:
        assert sum(threads.map(call, range(50))) == 10
    assert limit.spent() == pytest.approx(1.0)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 0.3), st.floats(0, 1)), max_size=30))
def test_with_costs_up_to_what_was_set_aside_the_cap_holds(calls):
    limit = cc.SpendLimit(1.0)
    open_ = []
    for model, usd, share in calls:
        if limit.affords(model, usd):
            reserved = limit.reserve(model, usd)
            open_.append((reserved, share * reserved.usd))
        if len(open_) > 3:
            reserved, cost = open_.pop(0)
            reserved.settle(cost)
    for reserved, cost in open_:
        reserved.settle(cost)
    assert limit.spent() <= 1.0 + 1e-6
    assert limit.affords("new", 1.0 - limit.spent() - 1e-6)


def test_a_limit_can_be_pickled():
    limit = cc.SpendLimit(1.0)
    limit.reserve("small", 0.1).settle(0.1)
    copy = pickle.loads(pickle.dumps(limit))
    copy.reserve("small", 0.1).settle(0.1)
    assert (copy.spent(), limit.spent()) == (0.2, 0.1)
    assert repr(copy) == "SpendLimit(1, per='process', near=0.8, at_limit='raise')"
