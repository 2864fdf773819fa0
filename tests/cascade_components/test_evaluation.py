import pytest

import cascade_components as cc
from tests.toy import toy_encoder


def test_a_replay_is_what_the_cascade_does(policy, held_out):
    """Drive the real loop over the recorded answers and compare with the replay."""
    outcomes = cc.load_outcomes(held_out)
    recorded = {(row.query_id, row.model): row for row in outcomes}
    cascade, correct, cost, escalated = cc.Cascade(policy), 0.0, 0.0, 0
    for query_id, query in outcomes.queries.items():
        trace = cascade.start(query)
        while not trace.done:
            row = recorded[query_id, trace.model]
            cost += row.cost_usd
            trace = cascade.judge(trace, row.answer)
        correct += recorded[query_id, trace.model].correct
        escalated += trace.escalated
    ev = cc.evaluate(policy, outcomes)
    count = len(outcomes.queries)
    assert ev.queries == count
    assert (ev.accuracy, ev.cost, ev.escalation_rate) == pytest.approx(
        (correct / count, cost / count, escalated / count)
    )


def test_always_the_strongest_keeps_everything(stage1_policy, held_out):
    ev = cc.evaluate(stage1_policy.remove_model("small").remove_model("medium"), held_out)
    assert (ev.retention, ev.escalation_rate) == (1.0, 0.0)
    assert ev.cost == ev.strongest_cost


def test_intervals_hold_their_estimates(policy, held_out):
    ev = cc.evaluate(policy, held_out)
    for name in ("accuracy", "cost", "retention", "escalation_rate"):
        low, high = ev.intervals[name]
        assert low <= getattr(ev, name) <= high
    assert set(ev.to_dict()["intervals"]) == set(ev.intervals)


def test_clusters_add_up(policy, held_out):
    ev = cc.evaluate(policy, held_out)
    assert sum(row.queries for row in ev.by_cluster) == ev.queries
    assert sum(row.queries * row.accuracy for row in ev.by_cluster) / ev.queries == pytest.approx(ev.accuracy)


def test_a_sweep_replays_the_whole_front(policy, held_out):
    curve = cc.sweep(policy, held_out)
    assert len(curve) == len(policy.front())
    assert curve[0].cost < curve[-1].cost
    assert curve[0].accuracy < curve[-1].accuracy


def test_prices_count_in_the_replay(policy, held_out):
    fixed = policy.at(cost_weight=0.0)
    assert cc.evaluate(fixed.reprice({"large": 2.0}), held_out).strongest_cost == pytest.approx(
        2 * cc.evaluate(fixed, held_out).strongest_cost
    )


def test_rows_without_an_output_are_not_escalated(policy, held_out):
    mute = [{**row, "output": None} for row in held_out]
    assert cc.evaluate(policy, mute).escalation_rate == 0


def test_queries_without_the_outcomes_needed_are_left_out_and_counted(policy, held_out):
    some = [row for row in held_out if row["query_id"] != "t0"]
    some += [row for row in held_out if row["query_id"] == "t0" and row["model"] == "large"]
    plan = policy.plans()[cc.Cascade(policy).start("sums question t0").cluster]
    assert plan.start != "large"
    assert cc.evaluate(policy, some).skipped == 1


def test_outcomes_of_other_models_are_refused(policy, held_out):
    with pytest.raises(ValueError, match="check the models' names"):
        cc.evaluate(policy, [{**row, "model": f"other-{row['model']}"} for row in held_out])


def test_an_encoder_is_called_once_per_text(rows, held_out):
    calls = []

    def counting(texts):
        calls.extend(texts)
        return toy_encoder(texts)

    policy = cc.fit(rows, encoder=counting, clusters=3)
    assert len(calls) == len(set(calls))
    cc.sweep(policy, held_out)
    assert len(calls) == len(set(calls))
