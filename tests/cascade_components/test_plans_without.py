"""The plans while models are out: prepared for one, kept for the latest of several."""

from itertools import combinations

import pytest

import cascade_components as cc
from cascade_components import policy as policies
from cascade_components.planning import Planner
from tests.toy import make_rows, toy_encoder


@pytest.fixture
def policy():
    return cc.fit(make_rows(90), encoder=toy_encoder, clusters=3, quality=None, retention=0.95)


def test_without_one_model_the_plan_is_looked_up(policy, monkeypatch):
    whole = policy.plans()
    monkeypatch.setattr(Planner, "without", None)
    for model in policy.models:
        found = policy.plans(frozenset({model}))
        assert len(found) == len(whole)
        assert all(model not in (plan.start, plan.target) for plan in found)


def test_without_several_the_latest_plans_are_kept(policy, monkeypatch):
    monkeypatch.setattr(policies, "_KEPT_PLANS", 2)
    solved = []
    without = Planner.without
    monkeypatch.setattr(Planner, "without", lambda self, out, weight: solved.append(out) or without(self, out, weight))
    policy.plans()
    solved.clear()
    pairs = [frozenset(pair) for pair in combinations(policy.models, 2)]
    for pair in (*pairs, pairs[-1], pairs[0]):
        (left,) = set(policy.models) - pair
        assert {plan.start for plan in policy.plans(pair)} == {left}
    assert solved == [*pairs, pairs[0]]
