import json

import pytest

import cascade_components as cc


def question(topic):
    return f"{topic} question nobody asked"


@pytest.mark.parametrize("topic", ["sums", "poems", "code"])
@pytest.mark.parametrize("target", [{}, {"retention": 0.9}, {"cost_weight": 0.0}])
def test_it_says_what_the_cascade_would_do(policy, topic, target):
    found = cc.explain(policy, question(topic), **target)
    there = policy.at(**target) if target else policy
    trace = cc.Cascade(there).start(question(topic))
    assert (found.plan.start, found.plan.target, found.plan.threshold) == (trace.model, trace.target, trace.threshold)
    assert (found.cluster, found.distance, found.reason) == (trace.cluster, trace.distance, trace.reason)
    assert (found.policy, found.target) == (there.fingerprint, str(there.target))


def test_what_is_expected_is_what_the_policy_describes(policy):
    for topic in ("sums", "poems", "code"):
        found = cc.explain(policy, question(topic))
        row = next(line for line in policy.describe().splitlines() if line.split()[:1] == [str(found.cluster)])
        assert f"{found.accuracy:.3f}" in row
        assert f"{found.cost:.4g}" in row
        assert row.endswith(f"{found.escalation:.0%}")


def test_expectations_of_the_clusters_add_up_to_those_of_the_operating_point(policy):
    found = [cc.explain(policy, question(topic)) for topic in ("sums", "poems", "code")]
    queries = sum(one.size for one in found)
    assert queries == 300
    assert sum(one.size * one.cost for one in found) / queries == pytest.approx(policy.point.cost)
    promised = policy.point.accuracy + policy.optimism.at(policy.point.cost_weight)
    assert sum(one.size * one.accuracy for one in found) / queries == pytest.approx(promised)


def test_the_alternatives_are_the_models_alone(policy):
    sums, poems = (cc.explain(policy, question(topic)) for topic in ("sums", "poems"))
    assert [one.model for one in sums.alternatives] == ["small", "medium", "large"]
    small, _, large = sums.alternatives
    assert small.accuracy == pytest.approx(0.95, abs=0.05)
    assert small.cost == pytest.approx(0.001, rel=0.1)
    assert large.cost == pytest.approx(0.010, rel=0.1)
    assert poems.alternatives[0].accuracy < small.accuracy - 0.4


def test_new_prices_count(policy):
    before, after = (cc.explain(one, question("sums")) for one in (policy, policy.reprice({"large": 0.5})))
    assert after.alternatives[-1].cost == pytest.approx(before.alternatives[-1].cost / 2)


def test_out_of_the_map_the_strongest_is_asked_and_all_queries_tell_what_to_expect(policy):
    found = cc.explain(policy, "sums poems code, all at once")
    assert found.cluster is None
    assert found.plan == cc.Plan("large")
    assert found.size == 300
    assert found.accuracy == pytest.approx(policy.planner.strongest_accuracy)
    assert found.escalation == 0
    assert "queries of all clusters" in str(found)
    assert "far from every cluster" in str(found)


def test_it_is_plain_data_without_the_question(policy):
    found = cc.explain(policy, question("poems"))
    data = json.loads(json.dumps(found.to_dict()))
    assert data["plan"]["start"] == found.plan.start
    assert [one["model"] for one in data["alternatives"]] == list(policy.models)
    assert data["policy"] == policy.fingerprint
    assert "nobody asked" not in json.dumps(data)


def test_it_reads_as_a_text(policy):
    text = str(cc.explain(policy, question("sums")))
    assert text.splitlines()[0] == f"plan: {cc.explain(policy, question('sums')).plan}"
    assert "retention 0.97" in text
    assert "large  alone: accuracy" in text


@pytest.mark.parametrize(
    ("query", "target", "message"),
    [
        (" ", {}, "The query is empty"),
        ("sums", {"budget": 1, "retention": 1}, "Give one of"),
        ("sums", {"budget": 0}, "cheapest costs"),
        ("sums", {"retention": -1}, "at least 0"),
    ],
)
def test_bad_input_is_refused(policy, query, target, message):
    with pytest.raises(ValueError, match=message):
        cc.explain(policy, query, **target)
