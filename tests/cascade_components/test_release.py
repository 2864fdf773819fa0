"""Early release: the rule that `fit` learns, in the policy, on disk, and in a cascade."""

import dataclasses

import numpy as np
import pytest

import cascade_components as cc
from cascade_components.quality.prefixes import CHECKPOINTS, prefix
from tests.toy import make_rows, toy_encoder


def long_rows(*args, **kwargs):
    """The toy world's rows, with 20 words in each answer and nothing but words to go by."""
    rows = make_rows(*args, **kwargs)
    for row in rows:
        del row["token_logprobs"]
        row["output"] += " is what I say" * 5
    return rows


@pytest.fixture(scope="module")
def rows():
    return long_rows(450)


@pytest.fixture(scope="module")
def policy(rows):
    return cc.fit(rows, encoder=toy_encoder, clusters=3, retention=0.97)


def gate_of(policy, model):
    """The cascade with a gate on a model that has a rule."""
    gate = policy.releases[model].gates[0]
    return cc.Plan(model, "large", gate)


def replay(policy, plan, rows):
    """Release (after how many words) and acceptance of each of the model's answers, and whether it is right."""
    cascade = cc.Cascade(policy)
    found = []
    for row in (row for row in cc.load_outcomes(rows) if row.model == plan.start):
        trace = cascade.start(row.query, route=cc.Route(plan, 0, 0.0, "as told"))
        beginnings = [prefix(row.answer, words) for words in CHECKPOINTS]
        traces = [cascade.release(trace, beginning) for beginning in beginnings if beginning]
        accepted = not cascade.judge(trace, row.answer).escalated
        found.append((any(not after.gated for after in traces), accepted, row.correct))
    return np.array(found, float)


def test_fit_learns_when_to_release_and_the_released_are_as_right_as_the_accepted(policy):
    assert policy.releases.keys() == policy.estimators.keys()
    released, accepted, correct = replay(policy, gate_of(policy, "small"), long_rows(seed=1, prefix="t")).T
    assert 0.1 < released.mean() < 1
    assert correct[released == 1].mean() > correct[accepted == 1].mean() - 0.02


def test_the_rule_is_saved_with_the_policy(policy, tmp_path):
    policy.save(tmp_path / "policy")
    loaded = cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder)
    assert {model: (rule.gates, rule.bars) for model, rule in loaded.releases.items()} == {
        model: (rule.gates, rule.bars) for model, rule in policy.releases.items()
    }
    query, beginning = "sums question 1", cc.Answer("sure 1 is what I say", model="small")
    gate = policy.releases["small"].gates[0]
    assert policy.early_release(query, beginning, gate) is not None
    assert loaded.early_release(query, beginning, gate) == policy.early_release(query, beginning, gate)
    assert loaded.fingerprint == policy.fingerprint
    without = dataclasses.replace(policy, releases={})
    assert without.fingerprint != policy.fingerprint
    assert not replay(without, gate_of(policy, "small"), long_rows(30, seed=1, prefix="t"))[:, 0].any()


def test_a_policy_without_rules_never_releases(policy, tmp_path):
    bare = dataclasses.replace(policy, releases={})
    bare.save(tmp_path / "policy")
    loaded = cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder)
    assert loaded.releases == {}
    assert loaded.fingerprint == bare.fingerprint
    assert loaded.early_release("sums", cc.Answer("sure 1 is what I say", model="small"), 0.5) is None


def test_rules_come_and_go_with_their_models(policy, rows):
    fewer = policy.remove_model("medium")
    assert set(fewer.releases) == {"small", "large"}
    again = cc.add_model(fewer, "medium", rows)
    assert set(again.releases) == {"small", "medium", "large"}
    assert again.releases["small"] is policy.releases["small"]
    assert again.releases["medium"].bars


def test_without_an_estimator_there_is_no_rule(rows):
    assert cc.fit(rows, encoder=toy_encoder, clusters=3, quality=None).releases == {}


def test_the_sequential_strategy_has_its_one_gate(rows):
    policy = cc.fit(rows, encoder=toy_encoder, strategy="sequential", retention=0.95)
    assert {rule.gates for rule in policy.releases.values()} <= {(), (0.5,)}
    assert policy.releases["small"].gates == (0.5,)


class Reader:
    """An estimator of the user's own, without `fit`."""

    def predict_proba(self, queries, answers):
        topics = [0.3 if "sums" in query else 0.0 for query in queries]
        return np.array([0.6 + t if "sure" in a.text else 0.1 for t, a in zip(topics, answers, strict=True)])


def test_an_estimator_of_ones_own_releases_too(rows, tmp_path):
    policy = cc.fit(rows, encoder=toy_encoder, clusters=3, quality=Reader())
    some = long_rows(60, seed=1, prefix="t")
    found = replay(policy, gate_of(policy, "small"), some)
    assert found[:, 0].any()
    policy.save(tmp_path / "policy")
    loaded = cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder, quality=Reader())
    assert (replay(loaded, gate_of(policy, "small"), some) == found).all()


def test_a_model_whose_answers_start_over_is_held(rows):
    hidden = [row | {"output": f"let me think about this one</think> {row['output']}"} for row in rows]
    policy = cc.fit(hidden, encoder=toy_encoder, clusters=3)
    assert {rule.bars for rule in policy.releases.values()} == {()}
