import numpy as np

import cascade_components as cc
from tests.toy import make_rows, toy_encoder


class Counting:
    def __init__(self):
        self.texts = []

    def __call__(self, texts):
        self.texts += texts
        return toy_encoder(texts)


def test_a_warm_policy_has_been_asked_all_that_it_can_be(tmp_path):
    cc.fit(make_rows(90), encoder=toy_encoder, clusters=3).save(tmp_path / "policy")
    encoder = Counting()
    policy = cc.CascadePolicy.load(tmp_path / "policy", encoder=encoder)
    assert not encoder.texts
    assert policy.warm_up() is policy
    assert len(encoder.texts) >= 2
    assert {frozenset({model}) for model in policy.models} <= set(policy._plans)


def test_it_changes_no_decision():
    policy = cc.fit(make_rows(90), encoder=toy_encoder, clusters=3)
    before = [policy.route(f"sums question {number}", frozenset(policy.models)) for number in range(9)]
    fingerprint = policy.fingerprint
    policy.warm_up()
    assert policy.fingerprint == fingerprint
    assert [policy.route(f"sums question {number}", frozenset(policy.models)) for number in range(9)] == before


def test_an_estimator_of_ones_own_is_tried_too():
    class Own:
        asked = 0

        def predict_proba(self, queries, answers):
            Own.asked += 1
            return np.full(len(queries), 0.5)

    policy = cc.fit(make_rows(90), encoder=toy_encoder, clusters=3, quality=Own())
    before = Own.asked
    policy.warm_up()
    assert Own.asked >= before + len(policy.estimators)
