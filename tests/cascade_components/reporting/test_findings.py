import numpy as np
import pytest

import cascade_components as cc
from cascade_components.reporting.findings import find
from cascade_components.reporting.wording import Unit, cut, number, percent
from cascade_components.reporting.words import typical_words


@pytest.fixture(scope="module")
def found(policy, held_out):
    return find(policy, held_out, progress=False)


def drive(policy, rows, available=None):
    """The real loop over recorded answers: the trace of each query, and the rows of the answers that it asked for."""
    outcomes, cascade = cc.load_outcomes(rows), cc.Cascade(policy)
    recorded = {(row.query_id, row.model): row for row in outcomes}
    for query_id, query in outcomes.queries.items():
        trace = cascade.start(query, available=available)
        while not trace.done:
            trace = cascade.judge(trace, recorded[query_id, trace.model].answer)
        yield trace, [recorded[query_id, model] for model in trace.path]


def test_each_model_alone(found, held_out):
    for one in found.alone:
        mine = [row for row in held_out if row["model"] == one.name]
        assert one.accuracy == pytest.approx(np.mean([row["correct"] for row in mine]))
        assert one.cost == pytest.approx(np.mean([row["cost_usd"] for row in mine]))
        low, high = one.intervals["accuracy"]
        assert low < one.accuracy < high


def test_the_mix_costs_what_the_policy_costs_and_the_oracle_is_the_best_there_is(found, held_out):
    mix, oracle, stage1 = found.others
    assert mix.cost == pytest.approx(found.evaluation.cost)
    assert found.alone[0].accuracy < mix.accuracy < found.evaluation.accuracy
    by_query = {}
    for row in held_out:
        by_query.setdefault(row["query_id"], []).append((-row["correct"], row["cost_usd"]))
    best = [min(rows) for rows in by_query.values()]
    assert oracle.accuracy == pytest.approx(np.mean([-right for right, _ in best]))
    assert oracle.cost == pytest.approx(np.mean([cost for _, cost in best]))
    assert stage1.intervals["escalation_rate"] == (0.0, 0.0)
    assert len(found.stage1) > 1


def test_an_escalation_is_counted_by_what_became_of_it(found, policy, held_out):
    counts = dict.fromkeys(("answers", "mended", "spoiled", "still_right", "still_wrong"), 0)
    added = 0.0
    for trace, rows in drive(policy, held_out):
        first, last = rows[0].correct, rows[-1].correct
        plan = None if trace.cluster is None else policy.plans()[trace.cluster]
        counts["answers"] += plan is not None and plan.target is not None
        if len(rows) > 1:
            kind = {(0, 1): "mended", (1, 0): "spoiled", (1, 1): "still_right", (0, 0): "still_wrong"}[first, last]
            counts[kind] += 1
            added += rows[-1].cost_usd
    assert counts["mended"] > 0
    assert {name: sum(getattr(one, name) for one in found.escalations) for name in counts} == counts
    assert sum(one.added_cost * one.escalated for one in found.escalations if one.escalated) == pytest.approx(added)


def test_a_threshold_curve_goes_through_the_policy(found):
    assert found.curves
    for curve in found.curves:
        assert list(curve.thresholds) == sorted(curve.thresholds)
        assert curve.cost[0] < curve.cost[-1]
        if len(curve.chosen) == 1:
            at = curve.thresholds.index(curve.chosen[0])
            assert (curve.accuracy[at], curve.cost[at]) == (found.evaluation.accuracy, found.evaluation.cost)


def test_while_a_model_is_out(found, policy, held_out):
    assert set(found.without) == set(policy.models)
    for model, evaluation in found.without.items():
        rows = [rows for _, rows in drive(policy, held_out, available=set(policy.models) - {model})]
        assert evaluation.accuracy == pytest.approx(np.mean([row[-1].correct for row in rows]))
        assert evaluation.cost == pytest.approx(np.mean([sum(one.cost_usd for one in row) for row in rows]))


def test_reliability_counts_every_answer(found, policy, held_out):
    assert [one.model for one in found.reliabilities] == [
        model for model in policy.models if model in policy.estimators
    ]
    for one in found.reliabilities:
        assert sum(count for *_, count in one.bins) == one.answers == 300
        assert 0 <= one.ece < 0.3


def test_clusters_are_named_and_placed(found, policy):
    topics = [set(words) & {"sums", "poems", "code"} for words in found.words]
    assert sorted(topic for (topic,) in topics) == ["code", "poems", "sums"]
    assert found.map.centroids.shape == (3, 2)
    for cluster in range(3):
        mine = found.map.queries[found.map.labels == cluster]
        distances = np.linalg.norm(mine[:, None] - found.map.centroids, axis=-1)
        assert (distances.argmin(1) == cluster).all()


def test_the_worst_clusters_show_wrong_answers(found, policy, held_out):
    wrong = {trace.query for trace, rows in drive(policy, held_out) if rows[-1].correct == 0}
    accuracies = [one.accuracy for one in found.worst]
    assert accuracies == sorted(accuracies)
    examples = [example for one in found.worst for example in one.examples]
    assert examples
    assert {example.query for example in examples} <= wrong
    right = {(row["query"], row["model"]) for row in held_out if row["correct"]}
    for example in examples:
        assert set(example.right) == {model for model in policy.models if (example.query, model) in right}


def test_the_encoder_keeps_no_more_than_before(policy, held_out):
    size = policy.encoder.size
    find(policy, held_out, progress=False)
    assert policy.encoder.size == size


def test_words_that_all_clusters_have_are_typical_of_none():
    texts = ["what is red paint", "what is red wine", "what is plus", "what is minus"]
    first, second, empty = typical_words(texts, np.array([0, 0, 1, 1]), 3, count=2)
    assert first[0] == "red"
    assert set(second) == {"plus", "minus"}
    assert empty == ()
    assert typical_words(["1 + 1", "2"], np.array([0, 0]), 1) == [()]


def test_numbers_read_well():
    assert [percent(value) for value in (0.5, float("nan"), None)] == ["50.0%", "–", "–"]
    assert [number(value) for value in (0, 3.14159, 12345.6, float("inf"))] == ["0.000", "3.142", "12,346", "–"]
    assert cut("a  b\nc") == "a b c"
    assert len(cut("x" * 500)) == 220
    assert Unit.of("cost_usd", 2e-6).text(2e-6) == "$2.000"
    assert Unit.of("cost_usd", 0.5).label == "USD per query"
    assert Unit.of("tpot_ms", 9.0).label == "ms per output token"
