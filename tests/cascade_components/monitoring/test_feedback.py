import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cascade_components as cc
from cascade_components.monitoring.feedback import Cell
from tests.cascade_components.monitoring.driving import Reader, World, done, serve
from tests.toy import toy_encoder

FAIR = {"prior": st.floats(0.05, 0.95), "weight": st.floats(1, 500), "count": st.integers(1, 300)}


def told(policy, queries, change=lambda row: row, share=1.0):
    """A monitor that was told about a share of the answers, and the accuracy of all of them."""
    monitor = cc.Monitor(policy)
    traces, right = serve(policy, queries, monitor, change=change)
    rng = np.random.default_rng(0)
    for trace, correct in zip(traces, right, strict=True):
        if rng.random() < share:
            monitor.record_feedback(trace.id, correct)
    return monitor, float(np.mean(right))


def cell(**changes):
    return Cell(**{"model": "small", "cluster": 0, "stood": "ungated", "prior": 0.9, "weight": 100.0} | changes)


class TestRecordFeedback:
    def test_it_counts_once(self, policy):
        monitor = cc.Monitor(policy)
        trace = done(policy)
        monitor.record(trace)
        assert monitor.record_feedback(trace.id, 0.5) is True
        assert monitor.record_feedback(trace.id, 1.0) is False
        (found,) = monitor.feedback.cells
        assert (found.count, found.correct, found.cluster) == (1, 0.5, trace.cluster)

    def test_an_unknown_or_expired_call_is_named(self, policy):
        monitor = cc.Monitor(policy, remember=1)
        first, second = done(policy), done(policy)
        monitor.record(first)
        monitor.record(second)
        with pytest.raises(ValueError, match=f"No call '{first.id}' is known: .* not among the last 1 "):
            monitor.record_feedback(first.id, 1)
        assert monitor.record_feedback(second.id, 1)

    @pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), "right"])
    def test_correct_is_a_share(self, policy, wrong):
        monitor = cc.Monitor(policy)
        with pytest.raises(ValueError, match=r"from 0 \(wrong\) to 1"):
            monitor.record_feedback("x", wrong)

    def test_how_an_answer_came_to_stand(self, policy):
        monitor, _ = told(policy, World().queries(300))
        by_plan = {(cluster, plan.start, plan.target) for cluster, plan in enumerate(policy.plans())}
        for found in monitor.feedback.cells:
            plan = policy.plans()[found.cluster]
            expected = {"accepted": plan.start, "escalated": plan.target, "ungated": plan.start}[found.stood]
            assert found.model == expected
        assert any(target for *_, target in by_plan)
        assert {found.stood for found in monitor.feedback.cells} >= {"accepted", "escalated"}
        assert sum(found.count for found in monitor.feedback.cells) + monitor.feedback.unused == 300

    def test_answers_that_no_estimate_is_about_are_of_no_use(self, policy):
        monitor = cc.Monitor(policy)
        for trace in (done(policy, cluster=None, distance=9.0), done(policy.at(cost_weight=3.0))):
            monitor.record(trace)
            assert monitor.record_feedback(trace.id, 1)
        assert (monitor.feedback.cells, monitor.feedback.unused) == ((), 2)

    def test_it_is_plain_data(self, policy):
        feedback = told(policy, World().queries(60))[0].feedback
        assert cc.Feedback.from_dict(json.loads(json.dumps(feedback.to_dict()))) == feedback
        assert "small in cluster" in str(feedback)
        with pytest.raises(ValueError, match="no feedback"):
            cc.Feedback.from_dict({"policy": "x"})


class TestCell:
    @given(right=st.floats(0, 1), **FAIR)
    @settings(max_examples=60)
    def test_an_estimate_moves_towards_what_was_seen_and_no_further(self, right, prior, weight, count):
        found = cell(prior=prior, weight=weight, count=count, correct=right * count)
        moved = found.moved(0.1)
        assert 0 <= found.changed(0.1) <= 1
        low, high = sorted((0.0, right - prior))
        assert low - 1e-9 <= moved <= high + 1e-9

    def test_one_answer_says_little_and_many_say_it_all(self):
        assert -0.1 < cell(count=1, correct=0.0).moved(0.1) < 0
        assert cell(count=300, correct=90.0).moved(0.1) == pytest.approx(-0.6, abs=0.02)

    def test_feedback_as_expected_speaks_against_a_change(self):
        assert cell(count=100, correct=90.0).changed(0.1) < 0.1
        assert cell(count=100, correct=60.0).changed(0.1) > 0.99

    def test_without_a_change_it_is_a_beta_posterior(self):
        assert cell(count=100, correct=80.0).mean == pytest.approx((90 + 80) / 200)

    def test_the_share_that_changed_is_learned_from_all(self):
        steady = tuple(cell(cluster=number, count=50, correct=45.0) for number in range(20))
        broken = tuple(replace(one, correct=20.0) for one in steady)
        assert cc.Feedback("x", steady).changed < 0.1 < 0.5 < cc.Feedback("x", broken).changed


class TestRefresh:
    @staticmethod
    def worse(row):
        """Medium forgot how to code; its answers still sound sure."""
        if row["model"] == "medium" and row["query"].startswith("code"):
            return row | {"correct": float(row["correct"] and row["query_id"][-1] in "05")}
        return row

    def test_a_model_that_got_worse_somewhere_is_avoided_there(self, stage1_policy):
        policy = stage1_policy
        code = cc.Cascade(policy).start("code question 1").cluster
        assert policy.plans()[code].start == "medium"
        monitor, _ = told(policy, World(3).queries(400), self.worse, share=0.3)
        refreshed = policy.refresh(monitor.feedback)
        assert "medium" not in str(refreshed.plans()[code])
        others = [cluster for cluster in range(3) if cluster != code]
        assert [refreshed.plans()[c] for c in others] == [policy.plans()[c] for c in others]
        queries = World(4).queries(600)
        (_, before), (_, after) = (serve(one, queries, change=self.worse) for one in (policy, refreshed))
        assert np.mean(after) > np.mean(before) + 0.1

    def test_so_is_a_gated_one(self, policy):
        code = cc.Cascade(policy).start("code question 1").cluster
        monitor, _ = told(policy, World(3).queries(400), self.worse)
        refreshed = policy.refresh(monitor.feedback)
        queries = World(4).queries(600)
        (_, before), (_, after) = (serve(one, queries, change=self.worse) for one in (policy, refreshed))
        assert refreshed.plans()[code] != policy.plans()[code]
        assert np.mean(after) > np.mean(before) + 0.05

    def test_without_a_change_no_accuracy_is_lost(self, policy):
        queries = World(20).queries(900)
        _, right = serve(policy, queries)
        for seed in range(5, 9):
            monitor, _ = told(policy, World(seed).queries(150))
            _, again = serve(policy.refresh(monitor.feedback), queries)
            noise = 3 * np.std(np.array(again) - np.array(right)) / np.sqrt(len(right))
            assert np.mean(again) >= np.mean(right) - noise - 0.01

    def test_feedback_of_nothing_is_the_identity(self, policy):
        assert policy.refresh(cc.Monitor(policy).feedback) is policy

    def test_it_is_another_policy_of_which_nothing_is_certified(self, rows):
        policy = cc.fit(rows, encoder=toy_encoder, clusters=3, retention=0.9, confidence=0.9)
        monitor, _ = told(policy, World(3).queries(300), self.worse)
        refreshed = policy.refresh(monitor.feedback)
        assert refreshed.certificate is None
        assert refreshed.fingerprint != policy.fingerprint
        assert refreshed.target == policy.target
        assert refreshed.estimators is policy.estimators

    def test_feedback_on_another_policy_is_refused(self, policy):
        monitor, _ = told(policy, World(3).queries(100), self.worse)
        refreshed = policy.refresh(monitor.feedback)
        with pytest.raises(
            ValueError, match=f"feedback on policy {policy.fingerprint}, not on {refreshed.fingerprint}"
        ):
            refreshed.refresh(monitor.feedback)

    def test_feedback_on_an_unknown_model_is_named(self, policy):
        feedback = cc.Feedback(policy.fingerprint, (cell(model="tiny", count=1, correct=1.0),))
        with pytest.raises(ValueError, match="about tiny in cluster 0"):
            policy.refresh(feedback)

    def test_a_refreshed_policy_can_be_saved_and_moved(self, policy, tmp_path):
        monitor, _ = told(policy, World(3).queries(300), self.worse)
        refreshed = policy.refresh(monitor.feedback)
        refreshed.save(tmp_path / "policy")
        loaded = cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder, quality=Reader())
        assert loaded.fingerprint == refreshed.fingerprint
        assert loaded.at(cost_weight=0.0).point.accuracy >= loaded.point.accuracy
