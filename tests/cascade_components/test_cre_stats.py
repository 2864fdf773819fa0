"""Statistics of cre-router: they are read as it reads them, and lead to the same decisions."""

import json
import math

import cre_router.routing as cre
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cascade_components as cc
from cascade_components.pool import pareto_front
from cascade_components.routing import best_region, efficiency, regions, route, stage2_estimate, stage2_gates
from tests.toy import make_rows, toy_encoder

METRICS = {"tpot": "tpot_ms", "e2el": "e2el_ms"}


@st.composite
def statistics(draw):
    """A file of 2–9 models and 1–8 clusters: smooth numbers, or small ones with many ties.

    Ties are of numbers whose sums and means are exact, so that they are ties in any order of summing.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    models, clusters, rounded = draw(st.integers(2, 9)), draw(st.integers(1, 8)), draw(st.booleans())
    names = [str(number) for number in range(clusters)]

    def amounts(low, high):
        values = rng.integers(1, 5, clusters) * low if rounded else rng.uniform(low, high, clusters)
        return dict(zip(names, values.round(6).tolist(), strict=True))

    def model():
        shares = rng.integers(0, 9, clusters) / 16 if rounded else rng.random(clusters).round(6)
        return {
            "errors": dict(zip(names, shares.tolist(), strict=True)),
            "cluster_tpot_ms": amounts(2, 60),
            "cluster_ttft_ms": amounts(8, 90),
            "cluster_e2el_ms": amounts(512, 90_000),
        }

    found = {f"m{number}": model() for number in rng.permutation(models)}
    if draw(st.booleans()):  # a cost of its own, which need not be the mean of the clusters'
        found["m0"] |= {"tpot_ms": 7.0, "e2el_ms": 1500.0}
    sizes = dict(zip(names, rng.integers(1, 9 if rounded else 500, clusters).tolist(), strict=True))
    error_tol = draw(st.sampled_from([None, 0.0, 0.001, 0.07]))
    return {"cluster_sizes": sizes, "models": found, **({} if error_tol is None else {"error_tol": error_tol})}


@st.composite
def pools(draw):
    """Ours and theirs, of the same file: (statistics, file), (models, sizes, error_tol, conditioning)."""
    file, metric = draw(statistics()), draw(st.sampled_from(["tpot", "e2el"]))
    conditioning = draw(st.sampled_from(["model", "cluster"]))
    ours = cc.read_cre_stats(file, METRICS[metric], conditioning=conditioning)
    models, sizes = cre.models_from_stats(file, metric)
    return (ours, file), (models, sizes, cre.error_tol_from_stats(file), conditioning)


def in_order(assignment):
    return tuple(assignment[str(cluster)] for cluster in range(len(assignment)))


class TestAgainstCreRouter:
    @given(pools(), st.floats(0, 3))
    def test_routing_and_pruning(self, pool, cost_weight):
        (ours, _), (models, _, tol, conditioning) = pool
        assert route(ours, cost_weight) == in_order(cre.assign(models, cost_weight, tol, conditioning))
        assert list(pareto_front(ours)) == [model.name for model in cre.pareto_prune(models, tol, conditioning)[0]]

    @given(pools())
    @settings(max_examples=60)
    def test_regions_their_names_and_their_efficiency(self, pool):
        (ours, _), (models, sizes, tol, conditioning) = pool
        theirs = cre.routing_regions(models, tol, conditioning)
        found = regions(ours)
        assert [region.routing for region in found] == [in_order(region.assignment) for region in theirs]
        for region, other in zip(found, theirs, strict=True):
            assert (region.low, region.high) == pytest.approx((other.lam_min, other.lam_max), abs=1e-9)
            assert region.cost_weight == other.representative_lambda
            assert (region.accuracy, region.cost) == pytest.approx(cre.system_metrics(models, other.assignment, sizes))
            eta = cre.eta(models, other.assignment, sizes, tol, conditioning)
            assert efficiency(ours, region) == (None if eta is None else pytest.approx(eta, rel=1e-6, abs=1e-9))

    @given(pools(), st.floats(0, 1))
    @settings(max_examples=60)
    def test_selection_under_a_budget(self, pool, share):
        (ours, _), (models, sizes, tol, conditioning) = pool
        efficient, _ = cre.pareto_prune(models, tol, conditioning)
        front = ours.only(pareto_front(ours))
        costs = sorted(region.cost for region in regions(front))
        # Just above the cost of some region; or anywhere; or below all of them.
        for budget in (costs[int(share * (len(costs) - 1))] * (1 + 1e-9), costs[0] * (0.9 + share), costs[0] * 0.99):
            try:
                theirs = cre.select_lambda(efficient, sizes, budget, tol, conditioning)
            except ValueError:
                with pytest.raises(ValueError, match="No routing is within the budget"):
                    best_region(front, budget)
                assert budget < costs[0]
                continue
            region = best_region(front, budget)
            assert region.routing == in_order(theirs.region.assignment)
            assert region.cost_weight == theirs.lambda_star

    @given(pools(), st.data())
    def test_stage_2(self, pool, data):
        (ours, file), (models, sizes, _, _) = pool
        routing = tuple(data.draw(st.sampled_from(ours.models)) for _ in sizes)
        named = data.draw(st.none() | st.sampled_from(ours.models))
        assignment = dict(zip(sizes, routing, strict=True))
        plan = cre.stage2_plan(models, assignment, sizes, named)
        target, gates = stage2_gates(ours, routing, target=named)
        assert [str(cluster) for cluster, gate in enumerate(gates) if gate] == sorted(plan.gated)
        assert not any(gates) or target == plan.target
        theirs = cre.estimate_stage2_cost(file, assignment, plan)
        tpot, e2el = (
            stage2_estimate(cc.read_cre_stats(file, metric), routing, target, gates, metric=metric)
            for metric in METRICS.values()
        )
        assert tpot.escalated == pytest.approx(theirs.escalated)
        assert (tpot.stage1_cost, tpot.added_cost) == pytest.approx((theirs.stage1_tpot_ms, theirs.added_tpot_ms))
        assert (e2el.stage1_cost, e2el.cost) == pytest.approx((1000 * theirs.stage1_e2el_s, 1000 * theirs.e2el_s))


class Sure:
    def predict_proba(self, queries, answers):
        return [0.9 if "sure" in str(answer) else 0.1 for answer in answers]


@pytest.mark.parametrize(("metric", "budgets"), [("tpot", (2.0, 4.0, 6.0, 9.0)), ("e2el", (200.0, 400.0, 900.0))])
def test_fit_selects_what_cre_router_selects_from_the_same_outcomes(metric, budgets):
    rows = make_rows(240)
    settings = {"encoder": toy_encoder, "clusters": 3, "quality": Sure(), "strategy": "sequential"}
    policy = cc.fit(rows, cost=METRICS[metric], budget=budgets[0], **settings)
    cluster = dict(zip(policy.evidence.query_ids, map(str, policy.evidence.labels), strict=True))

    def means(model, field):
        own = [(cluster[row["query_id"]], row[field]) for row in rows if row["model"] == model]
        return {c: np.mean([value for at, value in own if at == c]) for c in "012"}

    def measured(model):
        errors = {c: 1 - correct for c, correct in means(model, "correct").items()}
        return {"errors": errors, **{f"cluster_{field}": means(model, field) for field in METRICS.values()}}

    file = {
        "cluster_sizes": {c: list(cluster.values()).count(c) for c in "012"},
        "models": {model: measured(model) for model in policy.models},
    }
    models, sizes = cre.models_from_stats(file, metric)
    gates = 0
    for budget in budgets:
        theirs = cre.select_lambda(cre.pareto_prune(models)[0], sizes, budget)
        plan = cre.stage2_plan(models, theirs.region.assignment, sizes)
        at = policy.at(budget=budget)
        assert tuple(found.start for found in at.plans()) == in_order(theirs.region.assignment)
        assert {str(c): found.start for c, found in enumerate(at.plans()) if found.target} == plan.gated
        assert {(found.target, found.threshold) for found in at.plans()} <= {(plan.target, 0.5), (None, None)}
        assert at.point.cost_weight == theirs.lambda_star
        gates += len(plan.gated)
    assert gates > 2


MODEL = {"errors": {"0": 0.3, "1": 0.1}, "cluster_tpot_ms": {"0": 10.0, "1": 20.0}}
SIZES = {"0": 30, "1": 10}


def file_of(**changes):
    return {"cluster_sizes": SIZES, "models": {"a": MODEL | changes}}


class TestReading:
    def test_a_file_and_what_it_holds_are_the_same(self, tmp_path):
        file = tmp_path / "stats.json"
        file.write_text(json.dumps(file_of() | {"_note": "ignored", "basis": "1 x A100"}))
        assert cc.read_cre_stats(file).model_cost == cc.read_cre_stats(file_of()).model_cost == [12.5]

    def test_a_stated_cost_is_the_models_and_its_clusters_keep_theirs(self):
        found = cc.read_cre_stats(file_of(tpot_ms=99.0))
        assert (found.model_cost.tolist(), found.cost.tolist()) == ([99.0], [[10.0, 20.0]])

    def test_a_cluster_without_a_measurement_takes_the_models_cost(self):
        assert cc.read_cre_stats(file_of(cluster_tpot_ms={"1": 20.0})).cost.tolist() == [[20.0, 20.0]]
        assert cc.read_cre_stats(file_of(cluster_tpot_ms={}, tpot_ms=7)).cost.tolist() == [[7.0, 7.0]]

    def test_ten_clusters_come_in_the_order_of_their_numbers(self):
        names = [str(number) for number in (10, *range(10))]
        errors = {name: int(name) / 100 for name in names}
        file = {"cluster_sizes": dict.fromkeys(names, 5), "models": {"a": {"errors": errors, "tpot_ms": 1}}}
        assert cc.read_cre_stats(file).error.tolist() == [[number / 100 for number in range(11)]]

    def test_the_length_of_answers(self):
        times = {"cluster_e2el_ms": {"0": 1100.0}, "cluster_ttft_ms": {"0": 100.0}}
        tokens = cc.read_cre_stats(file_of(**times, cluster_output_tokens={"1": 7})).output_tokens
        assert tokens.tolist() == [[101.0, 7.0]]
        assert math.isnan(cc.read_cre_stats(file_of(**times)).output_tokens[0, 1])
        assert cc.read_cre_stats(file_of()).output_tokens is None

    @pytest.mark.parametrize(
        ("file", "message"),
        [
            ({"models": {"a": MODEL}}, r"stats\['cluster_sizes'\]: Field required"),
            ({"cluster_sizes": SIZES, "models": {}}, r"stats\['models'\]: Dictionary should have at least 1 item"),
            (
                {"cluster_sizes": {"0": 0, "1": 3}, "models": {"a": MODEL}},
                r"\['cluster_sizes'\]\['0'\]: .*greater than 0",
            ),
            (
                file_of(errors={"0": 1.2, "1": 0}),
                r"\['a'\]\['errors'\]\['0'\]: .*less than or equal to 1 \(found 1.2\)",
            ),
            (file_of(errors={"0": math.nan, "1": 0}), r"\['errors'\]\['0'\]: .*finite number \(found nan\)"),
            (file_of(errors={"0": 0.1}), r"errors of 'a' lacks the cluster '1'"),
            (file_of(errors={"0": 0.1, "1": 0.1, "2": 0.1}), r"errors of 'a' has the cluster '2'"),
            (file_of(cluster_tpot_ms={"0": 1, "7": 1}), r"cluster_tpot_ms of 'a' has the cluster '7'"),
            (file_of(cluster_tpot_ms={"0": -1, "1": 1}), r"\['0'\]: .*greater than or equal to 0 \(found -1\)"),
            (file_of(cluster_tpot_ms={"0": "fast", "1": 1}), r"valid number.*\(found 'fast'\)"),
            (file_of(cluster_tpot_ms={}), "'a' has neither tpot_ms nor cluster_tpot_ms"),
            (file_of() | {"error_tol": -0.1}, r"stats\['error_tol'\]"),
        ],
    )
    def test_what_is_wrong_is_named(self, file, message):
        with pytest.raises(ValueError, match=message):
            cc.read_cre_stats(file)

    def test_costs_by_cluster_must_be_measured_in_each(self):
        with pytest.raises(ValueError, match="need cluster_tpot_ms of 'a' in cluster '0', too"):
            cc.read_cre_stats(file_of(cluster_tpot_ms={"1": 20.0}), conditioning="cluster")

    def test_an_unknown_cost(self):
        with pytest.raises(ValueError, match="cost must be one of tpot_ms, e2el_ms; found 'euros'"):
            cc.read_cre_stats(file_of(), "euros")
        with pytest.raises(ValueError, match="conditioning must be one of model, cluster"):
            cc.read_cre_stats(file_of(), conditioning="planet")

    def test_files_that_are_none(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no file .*none\.json"):
            cc.read_cre_stats(tmp_path / "none.json")
        for text, message in (('{\n"models": oh}', r"stats\.json, line 2: not valid JSON"), ("[]", "valid dictionary")):
            (tmp_path / "stats.json").write_text(text)
            with pytest.raises(ValueError, match=message):
                cc.read_cre_stats(tmp_path / "stats.json")
        (tmp_path / "stats.json").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ValueError, match=r"stats\.json: not valid JSON"):
            cc.read_cre_stats(tmp_path / "stats.json")
