import json
import logging
import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest

import cascade_components as cc
from cascade_components.monitoring.observation import Observation
from tests.cascade_components.monitoring.driving import Reader, World, done, serve
from tests.toy import toy_encoder


@pytest.fixture
def monitor(policy):
    return cc.Monitor(policy, window=300)


def state(monitor, path):
    monitor.save(path)
    return json.loads(path.read_text())


class TestDrift:
    def test_traffic_like_that_of_the_fit_raises_no_alarm(self, policy, caplog):
        monitor = cc.Monitor(policy, window=300)
        for seed in range(1, 9):
            serve(policy, World(seed).queries(300), monitor)
            assert monitor.drift().drifted == ()
        assert monitor.drift().windows == 8
        assert not caplog.records

    def test_before_a_window_is_complete_nothing_is_said(self, policy, monitor):
        serve(policy, World().queries(120), monitor)
        report = monitor.drift()
        assert (report.windows, report.since, report.metrics) == (0, 120, ())
        assert "no window is complete yet (120 of 300 calls)" in str(report)

    @pytest.mark.parametrize(
        ("topics", "metrics"), [(("poems",), {"clusters", "scores", "escalation"}), (("sums",), {"clusters", "cost"})]
    )
    def test_another_mix_of_queries(self, policy, monitor, topics, metrics):
        serve(policy, World(topics=topics).queries(300), monitor)
        assert metrics - {"scores", "escalation"} <= set(monitor.drift().drifted)

    def test_worse_answers(self, policy, monitor):
        def worse(row):
            return row | {"output": "perhaps"}

        serve(policy, World().queries(300), monitor, change=worse)
        assert {"scores", "escalation", "cost"} <= set(monitor.drift().drifted)

    def test_a_higher_price(self, policy):
        monitor = cc.Monitor(policy, window=1000)
        serve(policy, World().queries(1000), monitor, cost=1.5)
        assert monitor.drift().drifted == ("cost",)
        assert "mean cost per query" in str(monitor.drift())

    def test_a_price_that_the_policy_knows_of_is_none(self, policy):
        dearer = policy.reprice(dict.fromkeys(policy.models, 1.5))
        monitor = cc.Monitor(dearer, window=600)
        serve(dearer, World().queries(600), monitor, cost=1.5)
        assert monitor.drift().drifted == ()

    def test_queries_out_of_the_map_have_a_share_of_their_own(self, policy, monitor):
        queries = World().queries(300)
        strange = [("sums poems code sure perhaps " + query, rows) for query, rows in queries[:30]]
        traces, _ = serve(policy, strange + queries[30:], monitor)
        out = sum(trace.cluster is None for trace in traces)
        assert 30 <= out < 40
        assert monitor.snapshot().totals.clusters[-1] == out
        metric = monitor.drift().metrics[0]
        assert metric.drifted
        assert (metric.detail, metric.seen) == ("share of queries out of the map", out / 300)

    def test_every_operating_point_has_its_own_expectation(self, policy):
        for point in policy.front():
            monitor = cc.Monitor(point, window=300)
            serve(point, World().queries(300), monitor)
            assert monitor.drift().drifted == (), point.describe()

    def test_it_is_logged_once_that_it_drifts_and_once_that_it_is_over(self, policy, caplog):
        monitor = cc.Monitor(policy, window=300)
        with caplog.at_level(logging.INFO, "cascade_components.monitoring"):
            for cost in (1.0, 3.0, 3.0, 3.0, 1.0, 1.0):
                serve(policy, World(int(cost)).queries(300), monitor, cost=cost)
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert "drift in cost" in caplog.text

    def test_the_report_is_plain_data(self, policy, monitor):
        serve(policy, World().queries(300), monitor)
        data = json.loads(json.dumps(monitor.drift().to_dict()))
        assert data["drifted"] == []
        assert [metric["name"] for metric in data["metrics"]] == [
            *("clusters", "distances", "scores", "escalation", "cost", "failures"),
        ]


class TestRecord:
    def test_a_trace_and_its_data_count_alike(self, policy, tmp_path):
        states = []
        traces, _ = serve(policy, World().queries(100))
        for read in (lambda trace: trace, lambda trace: trace.to_dict()):
            monitor = cc.Monitor(policy)
            for trace in traces:
                monitor.record(read(trace), cost=0.001, latency_ms=5)
            states.append(state(monitor, tmp_path / "state"))
        one, other = states
        assert one["current"].pop("distance_sum") == pytest.approx(other["current"].pop("distance_sum"), abs=1e-4)
        assert one == other

    def test_what_adapters_tell_has_cost_and_latency(self, policy, monitor):
        passes = [{"latency_ms": 1500.0}, {"latency_ms": 500.0}, {"latency_ms": 9000.0, "cancelled": True}]
        monitor.record({**done(policy).to_dict(), "cost_usd": 0.25, "passes": passes})
        totals = monitor.snapshot().totals
        assert (totals.cost, totals.latency.total, totals.unpriced) == (0.25, 2.0, 0)

    def test_a_call_that_is_not_done_is_refused(self, policy, monitor):
        trace = cc.Cascade(policy).start("sums question 1")
        with pytest.raises(ValueError, match="is not done"):
            monitor.record(trace)
        with pytest.raises(ValueError, match="This is no trace"):
            monitor.record({"done": True})

    def test_nonsense_for_a_cost_is_an_unknown_cost(self, policy, monitor):
        for cost in (None, float("nan"), float("inf"), -1.0):
            monitor.record(done(policy), cost=cost)
        assert monitor.snapshot().totals.unpriced == 4
        assert monitor.snapshot().totals.cost == 0

    def test_calls_that_the_policy_did_not_plan_are_no_drift(self, policy, tmp_path):
        monitor = cc.Monitor(policy, window=100)
        cascade = cc.Cascade(policy)
        for _ in range(50):
            monitor.record(cascade.judge(cascade.start("sums question 1", model="large"), "x"), cost=5.0)
            monitor.record(done(policy.at(cost_weight=3.0)), cost=5.0)
        totals = monitor.snapshot().totals
        assert (totals.unrouted, totals.elsewhere, sum(totals.calls.values())) == (50, 50, 100)
        assert monitor.drift().since == 0

    def test_a_call_off_the_plan_has_a_cluster_and_no_cost_to_compare(self, policy, tmp_path):
        monitor = cc.Monitor(policy)
        start = policy.plans()[done(policy).cluster].start
        cascade = cc.Cascade(policy)
        trace = cascade.start("sums question 1", available=set(policy.models) - {start})
        while not trace.done:
            trace = cascade.judge(trace, "sure")
        monitor.record(trace, cost=5.0)
        current = state(monitor, tmp_path / "state")["current"]
        assert (current["calls"], current["off_plan"], current["cost"]["count"]) == (1, 1, 0)
        assert sum(current["clusters"]) == 1

    def test_failures_are_counted_by_model(self, policy, monitor):
        cascade = cc.Cascade(policy)
        trace = cascade.start("poems question 1")
        first = trace.model
        trace = cascade.fail(trace, TimeoutError("late"))
        while not trace.done:
            trace = cascade.judge(trace, "sure")
        monitor.record(trace)
        totals = monitor.snapshot().totals
        assert totals.failures[first] == totals.fallbacks == 1

    def test_a_retry_that_succeeds_is_on_the_plan(self, policy):
        trace = done(policy)
        again = replace(trace, path=(trace.model,) * 2, failures=((trace.model, TimeoutError()),))
        seen = Observation.of(again)
        assert seen.follows(policy.plans()[trace.cluster])
        assert not seen.fell_back

    def test_a_stranger_among_the_models_gets_no_label(self, policy, monitor):
        monitor.record(done(policy, model="made up", path=("made up",)))
        totals = monitor.snapshot().totals
        assert totals.calls["other"] == 1
        assert set(totals.calls) == {*policy.models, "other"}


def test_nothing_grows_with_the_number_of_calls(policy, tmp_path):
    monitor = cc.Monitor(policy, window=100, remember=50)
    sizes = []
    for _ in range(3):
        for number in range(400):
            trace = done(policy, query=f"sums question {number}")
            monitor.record(trace, cost=0.001, latency_ms=5)
            monitor.record_feedback(trace.id, 1.0)
        sizes.append(len(pickle.dumps(monitor)))
    assert sizes[2] <= sizes[0] + 32  # digits of larger numbers


def test_no_text_is_kept(policy, tmp_path):
    monitor = cc.Monitor(policy)
    cascade = cc.Cascade(policy)
    trace = cascade.start("poems about my-secret")
    trace = cascade.fail(trace, ValueError("my-secret"))
    while not trace.done:
        trace = cascade.judge(trace, "the answer is my-secret")
    monitor.record(trace)
    monitor.save(tmp_path / "state")
    assert b"my-secret" not in (tmp_path / "state").read_bytes() + pickle.dumps(monitor)


def test_many_threads_may_record(policy):
    monitor = cc.Monitor(policy, window=250)
    traces, _ = serve(policy, World().queries(250))

    def work():
        for trace in traces:
            monitor.record(trace, cost=0.001)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(monitor.snapshot().totals.calls.values()) == 2000
    assert (monitor.drift().windows, monitor.drift().since) == (8, 0)


class TestSaving:
    @pytest.fixture
    def used(self, policy):
        monitor = cc.Monitor(policy, window=150, false_alarm_rate=0.02, remember=77)
        traces, right = serve(policy, World().queries(400), monitor, cost=2.0)
        for trace, correct in list(zip(traces, right, strict=True))[-50:]:
            monitor.record_feedback(trace.id, correct)
        return monitor

    def test_it_is_restored_exactly(self, policy, used, tmp_path):
        used.save(tmp_path / "a")
        loaded = cc.Monitor.load(tmp_path / "a", policy)
        loaded.save(tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        assert loaded.drift() == used.drift()
        assert loaded.feedback == used.feedback
        for monitor in (used, loaded):
            serve(policy, World(2).queries(200), monitor)
        assert loaded.drift() == used.drift()
        assert [path.name for path in sorted(tmp_path.iterdir())] == ["a", "b"]

    def test_a_saved_policy_reads_it_as_well(self, policy, used, tmp_path):
        used.save(tmp_path / "state")
        policy.save(tmp_path / "policy")
        again = cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder, quality=Reader())
        assert cc.Monitor.load(tmp_path / "state", again).drift() == used.drift()

    def test_another_policy_is_refused(self, policy, used, tmp_path):
        used.save(tmp_path / "state")
        with pytest.raises(ValueError, match=f"is the state of a monitor of policy '{policy.fingerprint}'"):
            cc.Monitor.load(tmp_path / "state", policy.at(cost_weight=3.0))

    def test_no_file(self, policy, tmp_path):
        with pytest.raises(FileNotFoundError, match="no monitor's state"):
            cc.Monitor.load(tmp_path / "state", policy)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda data: data.pop("totals"), "totals"),
            (lambda data: data["current"]["clusters"].pop(), "current.clusters must be a list of 4"),
            (lambda data: data["current"].update(calls=-1), "current.calls must be a number of at least 0"),
            (lambda data: data["totals"]["calls"].update(small="many"), "totals.calls.small must be a number"),
            (lambda data: data["feedback"]["sums"].append(["small", 99, "ungated", 1, 1.0]), "none on this policy"),
            (lambda data: data.update(window=3), "at least 100 calls"),
            (lambda data: data.update(last=[]), "last must have the keys"),
        ],
    )
    def test_damage_is_named(self, policy, used, tmp_path, change, message):
        data = state(used, tmp_path / "state")
        change(data)
        (tmp_path / "state").write_text(json.dumps(data))
        with pytest.raises(ValueError, match=f"state is damaged: .*{message}"):
            cc.Monitor.load(tmp_path / "state", policy)

    def test_half_a_file(self, policy, used, tmp_path):
        used.save(tmp_path / "state")
        (tmp_path / "state").write_bytes((tmp_path / "state").read_bytes()[:200])
        with pytest.raises(ValueError, match="is damaged"):
            cc.Monitor.load(tmp_path / "state", policy)


@pytest.mark.parametrize(
    "wrong", [{"window": 99}, {"false_alarm_rate": 0.0}, {"false_alarm_rate": 1.0}, {"remember": -1}]
)
def test_bad_arguments_are_named(policy, wrong):
    with pytest.raises(ValueError, match=f"Monitor: {next(iter(wrong))} must be"):
        cc.Monitor(policy, **wrong)


class TestExpectation:
    def test_a_replay_of_the_fit_is_what_the_table_was_made_of(self, policy):
        expected = cc.Monitor(policy).expected
        assert expected.cost.mean == pytest.approx(policy.point.cost, rel=0.05)
        assert expected.clusters.sum() == 600
        assert expected.shares[:3] == pytest.approx(list(policy.table.weights), abs=0.01)

    def test_a_new_model_keeps_what_is_known(self, rows):
        old = [row for row in rows if row["model"] != "medium"]
        policy = cc.add_model(cc.fit(old, encoder=toy_encoder, clusters=3, quality=Reader()), "medium", rows)
        evidence = policy.evidence
        assert not np.isnan(evidence.distances).any()
        assert not np.isnan(evidence.p_correct).any()
        monitor = cc.Monitor(policy.remove_model("small"), window=300)
        serve(policy.remove_model("small"), World().queries(300), monitor)
        assert monitor.drift().drifted == ()

    def test_a_policy_of_stage_one_has_no_scores_to_watch(self, stage1_policy):
        monitor = cc.Monitor(stage1_policy, window=300)
        serve(stage1_policy, World().queries(300), monitor)
        tested = {metric.name for metric in monitor.drift().metrics if metric.p_value is not None}
        assert tested == {"clusters", "distances", "escalation", "cost", "failures"}
        assert monitor.drift().drifted == ()

    def test_a_policy_without_outcomes_knows_its_shares_and_escalations(self, policy):
        from cascade_components.evidence import Evidence

        nobody = np.zeros((0, len(policy.models), 1))
        bare = replace(policy, evidence=Evidence(policy.models, (), np.zeros(0, np.intp), *[nobody] * 4))
        monitor = cc.Monitor(bare, window=300)
        serve(bare, World().queries(300), monitor)
        tested = {metric.name for metric in monitor.drift().metrics if metric.p_value is not None}
        assert tested == {"clusters", "escalation", "failures"}
        assert monitor.drift().drifted == ()

    def test_times_are_watched_where_they_are_the_cost(self, rows):
        policy = cc.fit(rows, encoder=toy_encoder, clusters=3, quality=None, cost="e2el_ms", cost_weight=0.1)
        monitor = cc.Monitor(policy, window=300)
        serve(policy, World().queries(300), monitor)
        cost = next(metric for metric in monitor.drift().metrics if metric.name == "cost")
        assert cost.seen == 40
        assert cost.drifted
