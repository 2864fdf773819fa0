import pytest

import cascade_components as cc
from cascade_components.serving.account import Account, Usage


def account(policy, limit=None, prices=None, **changes):
    given = {"thread": None, "prompt_tokens": 10, "max_tokens": None, **changes}
    return Account(policy, prices or {}, limit, **given)


def test_without_a_limit_everything_can_be_asked(policy):
    assert account(policy()).affordable(["small", "large"]) == {"small", "large"}


def test_a_pass_costs_what_its_tokens_do(policy):
    assert account(policy()).pay("small", Usage(10, 5)) == pytest.approx(0.015)
    assert account(policy()).pay("small", None) is None
    assert account(policy()).pay("small", Usage(10, 5, free=True)) == 0.0
    own = {"small": cc.TokenPrice(1.0, 2.0, cache_read=0.5, cache_creation=3.0)}
    assert account(policy(), prices=own).pay("small", Usage(10, 5, cache_read=4, cache_creation=2)) == 4 + 2 + 6 + 10


@pytest.mark.parametrize(("longest", "affordable"), [(None, {"small"}), (2, {"small", "large"})])
def test_an_answer_is_expected_as_long_as_usual_or_as_allowed(policy, longest, affordable):
    # The large model's prompt costs 0.10 USD, an answer of usual length as much again.
    found = account(policy(), cc.SpendLimit(0.15, near=1.0), max_tokens=longest)
    assert found.affordable(["small", "large"]) == affordable


def test_at_the_limit(policy):
    with pytest.raises(cc.SpendLimitError):
        account(policy(), cc.SpendLimit(0.001)).affordable(["small", "large"])
    cheap = account(policy(), cc.SpendLimit(0.001, at_limit="cheapest"))
    assert (cheap.affordable(["small", "large"]), cheap.at_limit) == ({"small"}, True)
    cheap.reserve("small")
    with pytest.raises(cc.SpendLimitError):
        cheap.reserve("large")
