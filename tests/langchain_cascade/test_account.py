"""Money: what each pass cost, and a spending limit that acts."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.messages import AIMessage

import cascade_components as cc
from cascade_components.trace import Plan

from .doubles import ChatScripted, ScriptedPolicy, policy, pool
from .ways import trace_of

# A pass of the doubles has 10 input and 5 output tokens: 0.015 USD of small, 0.15 of large. "Hello" is 6 tokens
# by the estimate, and an answer is expected to have 5 as well: 0.011 and 0.11 USD are set aside.


def test_each_pass_says_what_it_cost_and_why_it_was_made(make):
    passes = trace_of(make(0.1).invoke("Hello"))["passes"]
    assert [(one["model"], one["cost_usd"]) for one in passes] == [
        ("small", pytest.approx(0.015)),
        ("large", pytest.approx(0.15)),
    ]
    assert passes[0]["reason"].startswith("cluster 0: small")
    assert passes[1]["reason"] == "small scored 0.10, below 0.50: large is asked"
    assert all(one["latency_ms"] > 0 for one in passes)


def test_every_step_has_its_reason(make, runs):
    trace = trace_of(make(0.1).invoke("Hello", {"callbacks": [runs]}))
    assert len(trace["reasons"]) == 3
    assert trace["reason"] == "; ".join(trace["reasons"])
    assert [runs.metadata[run]["cascade_reason"] for run in runs.of("model")] == trace["reasons"][:2]


def test_given_prices_count_with_cached_tokens(make):
    details = {"input_token_details": {"cache_read": 4, "cache_creation": 2}, "output_token_details": {"reasoning": 3}}
    model = make(
        0.1,
        small={"usage_details": details},
        large={"usage_details": details},
        prices={"small": cc.TokenPrice(1.0, 10.0, cache_read=0.5, cache_creation=2.0), "large": (2.0, 20.0)},
    )
    message = model.invoke("Hello")
    small = 4 * 1.0 + 4 * 0.5 + 2 * 2.0 + 5 * 10.0
    large = 10 * 2.0 + 5 * 20.0
    assert [one["cost_usd"] for one in trace_of(message)["passes"]] == [small, large]
    assert trace_of(message)["cost_usd"] == small + large
    assert message.usage_metadata["input_token_details"] == {"cache_read": 8, "cache_creation": 4}
    assert message.usage_metadata["output_token_details"] == {"reasoning": 6}


@pytest.mark.parametrize(
    ("prices", "problem"),
    [
        ({"huge": (1, 1)}, "prices: huge is not in the policy; it knows small, large"),
        ({"small": 0.5}, "prices: small must be a TokenPrice"),
        ({"small": (1, -1)}, "at least 0"),
    ],
)
def test_prices_that_make_no_sense_are_refused(make, prices, problem):
    with pytest.raises(ValueError, match=problem):
        make(prices=prices)


def test_an_answer_from_a_models_own_cache_costs_nothing(make):
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "total_cost": 0}
    reply = AIMessage("kept", usage_metadata=usage)

    class Kept(ChatScripted):
        def _usage(self, messages):
            return usage

    model = make(0.1)
    model.models["small"] = Kept(model_name="small", reply=reply)
    message = model.invoke("Hello")
    assert [one["cost_usd"] for one in trace_of(message)["passes"]] == [0.0, pytest.approx(0.15)]
    assert "total_cost" not in message.usage_metadata


# — a spending limit —


def limited(make, usd, probability=None, **changes):
    limit = {name: changes.pop(name) for name in ("per", "near", "at_limit") if name in changes}
    return make(probability, spend_limit=cc.SpendLimit(usd, **limit), **changes)


def test_a_limit_needs_prices(make):
    with pytest.raises(ValueError, match=r'unknown: small, large\. Give prices=\{"small"'):
        limited(make, 1.0, policy_changes={"prices": {}})
    limited(make, 1.0, policy_changes={"prices": {}}, prices={"small": (1, 1), "large": (1, 1)})


def test_at_the_limit_an_error_says_so(make, runs):
    model = limited(make, 0.05, near=1.0)
    for _ in range(3):
        assert model.invoke("Hello").text == "small says so"
    with pytest.raises(cc.SpendLimitError, match=r"0\.045 USD of 0\.05 are spent, .* Raise the limit"):
        model.invoke("Hello", {"callbacks": [runs]})
    assert runs.of("model") == []
    assert len(model.models["small"].calls) == 3


async def test_at_the_limit_the_cheapest_answers_if_asked_to(make):
    model = limited(make, 0.05, of=ScriptedPolicy(plan=Plan("large")), near=1.0, at_limit="cheapest")
    message = await model.ainvoke("Hello")
    assert trace_of(message)["path"] == ["small"]
    for _ in range(5):
        message = model.invoke("Hello")
    assert trace_of(message)["path"] == ["small"]
    assert "the spending limit is reached: small, the cheapest, is asked" in trace_of(message)["reason"]
    assert model.spend_limit.spent() == pytest.approx(6 * 0.015)


@pytest.mark.parametrize("named", ["small", "large"])
def test_at_the_limit_the_cheapest_answers_instead_of_one_that_is_named(make, named):
    model = limited(make, 0.05, near=1.0, at_limit="cheapest")
    model.spend_limit.reserve("large", 0.05).settle(0.05)
    trace = trace_of(model.invoke("Hello", {"configurable": {"cascade": {"model": named}}}))
    assert trace["path"] == ["small"]
    assert "the spending limit is reached: small, the cheapest, is asked" in trace["reason"]
    with pytest.raises(ValueError, match="huge not in the policy"):
        model.invoke("Hello", {"configurable": {"cascade": {"model": "huge"}}})
    strict = limited(make, 0.05, near=1.0)
    strict.spend_limit.reserve("large", 0.05).settle(0.05)
    with pytest.raises(cc.SpendLimitError):
        strict.invoke("Hello", {"configurable": {"cascade": {"model": named}}})


def test_near_the_limit_a_call_with_a_point_of_its_own_gets_no_dearer_one(make):
    found = ScriptedPolicy(plan=Plan("large"))
    model = limited(make, 1.0, of=found, near=0.2)
    model.spend_limit.reserve("large", 0.4).settle(0.4)
    model.invoke("Hello", {"configurable": {"cascade": {"budget": 0.1}}})
    assert found.points[0] == {"budget": 0.1}
    assert found.points[1]["pressure"] > 0


def test_near_the_limit_cheaper_plans_are_preferred(make):
    found = ScriptedPolicy(plan=Plan("large"))
    model = limited(make, 0.5, of=found, near=0.2)
    paths = [trace_of(model.invoke("Hello"))["path"] for _ in range(4)]
    assert paths[0] == ["large"]
    assert paths[-1] == ["small"]
    assert all(0 < point["pressure"] <= 1 for point in found.points)


def test_an_escalation_that_does_not_fit_is_not_made(make):
    # From the start there is no money for the large model; or there is none left after the draft.
    assert trace_of(limited(make, 0.05, 0.1, near=1.0).invoke("Hello"))["path"] == ["small"]
    trace = trace_of(limited(make, 0.12, 0.1, near=1.0).invoke("Hello"))
    assert trace["path"] == ["small"]
    assert "no stronger model is left" in trace["reason"]


def test_a_model_that_does_not_fit_gives_way_to_one_that_does(make):
    model = limited(make, 0.05, of=ScriptedPolicy(plan=Plan("large")), near=1.0)
    assert trace_of(model.invoke("Hello"))["path"] == ["small"]


def test_each_thread_has_its_own_limit(make):
    model = limited(make, 0.02, per="thread", near=1.0)
    one, other = ({"configurable": {"thread_id": name}} for name in ("one", "other"))
    model.invoke("Hello", one)
    with pytest.raises(cc.SpendLimitError, match="thread one"):
        model.invoke("Hello", one)
    assert model.invoke("Hello", other).text == "small says so"


async def test_concurrent_calls_keep_within_the_limit(make):
    model = limited(make, 0.1501, near=1.0, small={"usage_details": {}})
    model.invoke("Hello")  # now it is known what a call costs

    def ask(_):
        try:
            model.invoke("Hello")
        except cc.SpendLimitError:
            return 0
        return 1

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(ask, range(40))) == 9
    assert model.spend_limit.spent() == pytest.approx(0.15)

    model.spend_limit.forget()
    found = await asyncio.gather(*(model.ainvoke("Hello") for _ in range(40)), return_exceptions=True)
    assert sum(isinstance(one, AIMessage) for one in found) == 10
    assert all(isinstance(one, AIMessage | cc.SpendLimitError) for one in found)


def test_two_cascades_share_a_limit(make):
    limit = cc.SpendLimit(0.02, near=1.0)
    make(spend_limit=limit).invoke("Hello")
    with pytest.raises(cc.SpendLimitError):
        make(spend_limit=limit).invoke("Hello")


async def test_what_a_failed_call_set_aside_is_free_again_and_what_a_left_one_did_is_spent(make):
    model = limited(make, 1.0, small={"reply": ConnectionError("down")}, large={"reply": ConnectionError("down")})
    with pytest.raises(cc.AllModelsFailed):
        model.invoke("Hello")
    assert model.spend_limit.spent() == 0.0
    assert model.spend_limit.affords("small", 1.0)

    model = limited(make, 1.0)
    stream = model.stream("Hello")
    next(stream)
    stream.close()
    assert model.spend_limit.spent() == pytest.approx(0.011)


def test_the_pool_of_the_doubles_has_prices():
    assert set(policy().prices) == set(pool())
