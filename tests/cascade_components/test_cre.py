"""Artifacts of cre-router become a policy that does what its own server does."""

import asyncio
import json
from dataclasses import dataclass

import cre_router.routing as cre
import numpy as np
import pytest
from cre_router.artifacts import RouterArtifacts
from cre_router.server.cascade_router import CascadeRouter

import cascade_components as cc
from cascade_components.encoders import SentenceTransformerEncoder
from tests.cascade_components.quality.tiny import make_modern_classifier
from tests.toy import TOPICS, make_rows, toy_encoder

STATS = {
    "cluster_sizes": {"0": 40, "1": 50, "2": 30},
    "models": {
        "strong": {
            "errors": {"0": 0.05, "1": 0.10, "2": 0.08},
            "cluster_tpot_ms": {"0": 30.0, "1": 34.0, "2": 32.0},
            "cluster_ttft_ms": {"0": 100.0, "1": 100.0, "2": 100.0},
            "cluster_e2el_ms": {"0": 6100.0, "1": 6900.0, "2": 6500.0},
        },
        "weak": {
            "errors": {"0": 0.08, "1": 0.40, "2": 0.20},
            "cluster_tpot_ms": {"0": 9.0, "1": 10.0, "2": 8.0},
            "cluster_ttft_ms": {"0": 50.0, "1": 50.0, "2": 50.0},
            "cluster_e2el_ms": {"0": 950.0, "1": 1050.0, "2": 850.0},
        },
        "unused": {
            "errors": {"0": 0.30, "1": 0.60, "2": 0.50},
            "cluster_tpot_ms": {"0": 20.0, "1": 20.0, "2": 20.0},
            "cluster_ttft_ms": {"0": 50.0, "1": 50.0, "2": 50.0},
            "cluster_e2el_ms": {"0": 2050.0, "1": 2050.0, "2": 2050.0},
        },
    },
}
QUESTIONS = [f"{topic} question {number}" for topic in TOPICS for number in range(4)]


def fitted(folder, metric="tpot", budget=28.0, conditioning="model"):
    """What `cre cluster` and `cre fit` leave behind."""
    models, sizes = cre.models_from_stats(STATS, metric)
    efficient, _ = cre.pareto_prune(models, cost_conditioning=conditioning)
    selection = cre.select_lambda(efficient, sizes, budget, cost_conditioning=conditioning)
    plan = cre.stage2_plan(models, selection.region.assignment, sizes)
    centroids = np.stack([toy_encoder([f"{topic} {number}" for number in range(20)]).mean(0) for topic in TOPICS])
    artifacts = RouterArtifacts(
        centroids=centroids * 0.9,  # within the unit sphere, as those of unit vectors are
        routing_table=selection.region.assignment,
        lambda_star=selection.lambda_star,
        budget_ms=budget,
        cost_metric=metric,
        cost_conditioning=conditioning,
        escalation_target=plan.target,
        gated_clusters=plan.gated,
        stats=STATS,
    )
    artifacts.save(folder)
    return artifacts


class Sure:
    def predict_proba(self, queries, answers):
        return [0.9 if "sure" in str(answer) else 0.1 for answer in answers]


@dataclass
class Decision:
    accept: bool
    p_accept: float


def their_path(artifacts, query, answers, estimated):
    """The models that cre-router's own server asks."""

    async def complete(model, request):
        return {"choices": [{"message": {"content": answers[model]}}], "usage": {"completion_tokens": 3}}

    router = CascadeRouter(
        centroids=artifacts.centroids,
        routing_table=artifacts.routing_table,
        embed_fn=toy_encoder,
        completion_fn=complete,
        escalation_target=artifacts.escalation_target,
        gated_clusters=artifacts.gated_clusters,
        qe_predict_fns={model: lambda _, output, __: Decision("sure" in output, 0.9) for model in estimated},
    )
    request = {"messages": [{"role": "user", "content": query}]}
    _, meta = asyncio.run(router.acompletion(request))
    return tuple(meta.path)


def our_path(policy, query, answers):
    cascade = cc.Cascade(policy)
    trace = cascade.start(query)
    while not trace.done:
        trace = cascade.judge(trace, answers[trace.model])
    return trace.path


@pytest.mark.parametrize("estimated", [(), ("weak",)])
@pytest.mark.parametrize(("metric", "budget"), [("tpot", 28.0), ("tpot", 20.0), ("e2el", 4000.0)])
def test_the_policy_asks_whom_cre_router_asks(tmp_path, estimated, metric, budget):
    artifacts = fitted(tmp_path, metric, budget)
    policy = cc.read_cre_artifacts(tmp_path, encoder=toy_encoder, quality=dict.fromkeys(estimated, Sure()))
    assert policy.strategy == "sequential"
    assert policy.metric == f"{metric}_ms"
    assert policy.target.budget == budget
    assert policy.point.cost_weight == artifacts.lambda_star
    paths = set()
    for query in QUESTIONS:
        for answer in ("sure", "perhaps"):
            answers = dict.fromkeys(policy.models, answer)
            paths.add(our_path(policy, query, answers))
            assert our_path(policy, query, answers) == their_path(artifacts, query, answers, estimated)
    assert (("weak", "strong") in paths) == bool(estimated)


@pytest.mark.parametrize(("metric", "budget"), [("tpot", 28.0), ("e2el", 4000.0)])
def test_expectations_are_the_stage_2_estimate(tmp_path, metric, budget):
    artifacts = fitted(tmp_path, metric, budget)
    models, sizes = cre.models_from_stats(STATS, metric)
    accuracy, cost = cre.system_metrics(models, artifacts.routing_table, sizes)
    stage1 = cc.read_cre_artifacts(tmp_path, encoder=toy_encoder).point
    assert (stage1.accuracy, stage1.cost) == pytest.approx((accuracy, cost))
    plan = cre.stage2_plan(models, artifacts.routing_table, sizes)
    estimate = cre.estimate_stage2_cost(STATS, artifacts.routing_table, plan)
    both = cc.read_cre_artifacts(tmp_path, encoder=toy_encoder, quality=Sure()).point
    assert both.cost == pytest.approx(estimate.tpot_ms if metric == "tpot" else 1000 * estimate.e2el_s)
    assert both.accuracy > stage1.accuracy


class TestAPolicyWithoutEvidence:
    @pytest.fixture
    def policy(self, tmp_path):
        fitted(tmp_path / "artifacts")
        return cc.read_cre_artifacts(tmp_path / "artifacts", encoder=toy_encoder, quality={"weak": Sure()})

    def test_round_trip(self, policy, tmp_path):
        policy.save(tmp_path / "policy")
        with pytest.raises(ValueError, match="quality=that estimator"):
            cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder)
        loaded = cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder, quality={"weak": Sure()})
        assert loaded.fingerprint == policy.fingerprint
        assert loaded.describe() == policy.describe()
        assert loaded.plans() == policy.plans()

    def test_it_describes_itself(self, policy):
        text = policy.describe()
        assert "sequential, budget 28; cost is tpot_ms" in text
        assert "weak → strong below 0.50" in text
        assert str(cc.explain(policy, QUESTIONS[0])).startswith("plan: weak → strong")
        assert policy.expected_output_tokens("weak") is None

    def test_a_query_far_from_every_centroid_goes_to_the_nearest_all_the_same(self, policy):
        assert cc.Cascade(policy).start("???").cluster is not None

    def test_planned_anew_for_its_budget_it_is_the_same(self, policy):
        assert policy.at(budget=28.0).point == policy.point
        assert {plan.start for plan in policy.at(budget=12.0).plans()} == {"weak"}
        assert policy.at(retention=1.0).point.accuracy >= 0.99 * policy.planner.strongest_accuracy
        assert len(policy.front()) == 4

    def test_its_pool_changes(self, policy):
        smaller = policy.remove_model("unused")
        assert smaller.models == ("weak", "strong")
        assert smaller.plans() == policy.plans()
        assert {plan.start for plan in policy.reprice({"strong": 0.5}).plans()} == {"strong"}
        assert {plan.start for plan in policy.plans(frozenset({"strong"}))} == {"weak"}

    def test_no_model_can_be_added(self, policy):
        rows = [row | {"model": "new"} for row in make_rows(count=60) if row["model"] == "small"]
        with pytest.raises(ValueError, match="no model can be added"):
            cc.add_model(policy, "new", rows)

    def test_it_can_leave_out_what_is_not_served(self, policy, tmp_path):
        served = cc.read_cre_artifacts(tmp_path / "artifacts", encoder=toy_encoder, served_only=True)
        assert served.models == ("weak", "strong")
        assert served.point.cost_weight == policy.point.cost_weight


def test_a_trained_checkpoint_is_saved_with_the_policy(tmp_path):
    fitted(tmp_path / "artifacts")
    head = cc.SequenceHead.trained(make_modern_classifier(tmp_path / "checkpoint"))
    policy = cc.read_cre_artifacts(tmp_path / "artifacts", encoder=toy_encoder, quality={"weak": head})
    assert {str(plan) for plan in policy.plans()} == {"weak → strong below 0.50", "strong"}
    policy.save(tmp_path / "policy")
    (tmp_path / "checkpoint").rename(tmp_path / "elsewhere")
    loaded = cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder)
    assert loaded.fingerprint == policy.fingerprint
    answers = [cc.Answer(f"perhaps {number}", output_tokens=number) for number in range(6)]
    paths = set()
    for answer in answers:
        score = head.predict_proba([QUESTIONS[0]], [answer])[0]
        expected = ("weak",) if score >= 0.5 else ("weak", "strong")
        for found in (policy, loaded):
            assert our_path(found, QUESTIONS[0], {"weak": answer, "strong": answer}) == expected
        paths.add(expected)
    assert len(paths) == 2


def test_the_stored_encoder_is_the_policys(tmp_path):
    fitted(tmp_path / "artifacts")
    policy = cc.read_cre_artifacts(tmp_path / "artifacts")
    policy.save(tmp_path / "policy")
    loaded = cc.CascadePolicy.load(tmp_path / "policy")
    assert isinstance(loaded.encoder.encoder, SentenceTransformerEncoder)
    assert loaded.encoder.encoder.name == "sentence-transformers/all-MiniLM-L6-v2"


def test_a_routing_that_no_cost_weight_reaches_is_kept(tmp_path):
    artifacts = fitted(tmp_path)
    artifacts.lambda_star, artifacts.routing_table = None, {"0": "strong", "1": "strong", "2": "weak"}
    artifacts.gated_clusters = {"2": "weak"}
    artifacts.save(tmp_path)
    policy = cc.read_cre_artifacts(tmp_path, encoder=toy_encoder)
    assert [plan.start for plan in policy.plans()] == ["strong", "strong", "weak"]
    assert policy.point.cost_weight > 0


def test_a_gate_towards_a_weaker_model_is_left_out(tmp_path):
    """`cre fit --escalate-to` can ask for it; a ladder has no way down."""
    artifacts = fitted(tmp_path)
    artifacts.routing_table, artifacts.gated_clusters = dict.fromkeys("012", "weak"), {"0": "weak"}
    artifacts.escalation_target = "unused"
    artifacts.save(tmp_path)
    policy = cc.read_cre_artifacts(tmp_path, encoder=toy_encoder, quality=Sure())
    assert {plan.target for plan in policy.plans()} == {None}


class TestWhatIsWrongIsNamed:
    @pytest.fixture
    def folder(self, tmp_path):
        fitted(tmp_path)
        return tmp_path

    def change(self, folder, **changes):
        file = folder / "router.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    @pytest.mark.parametrize("name", ["router.json", "centroids.npy"])
    def test_a_missing_file(self, folder, name):
        (folder / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"holds no {name}; cre .* writes it"):
            cc.read_cre_artifacts(folder)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"routing_table": {}}, "routing_table must have the 3 clusters of centroids.npy, from 0; found none"),
            ({"routing_table": {"0": "weak", "1": "weak", "7": "weak"}}, "found 0, 1, 7"),
            ({"routing_table": {"0": "weak", "1": "weak", "2": "gpt"}}, "the routing names 'gpt', which stats lacks"),
            ({"escalation_target": "gpt"}, "the routing names 'gpt'"),
            ({"escalation_target": None}, "gated_clusters gates 'weak' in cluster 0"),
            ({"gated_clusters": {"1": "weak"}}, "gated_clusters gates 'weak' in cluster 1"),
            ({"budget_ms": None, "lambda_star": None}, "neither budget_ms nor lambda_star"),
            ({"lambda_star": -1}, r"router.json\['lambda_star'\]: .*\(found -1\)"),
            ({"cost_metric": "euros"}, r"router.json\['cost_metric'\]: .*'tpot' or 'e2el'"),
            ({"stats": {}}, r"router.json\['stats'\]\['cluster_sizes'\]: Field required"),
            ({"stats": STATS | {"cluster_sizes": {"0": 1}}}, "stats.cluster_sizes must have the 3 clusters"),
        ],
    )
    def test_router_json(self, folder, changes, message):
        self.change(folder, **changes)
        with pytest.raises(ValueError, match=message):
            cc.read_cre_artifacts(folder)

    @pytest.mark.parametrize(
        ("centroids", "message"),
        [
            (np.array(["a"]), "is damaged, or no array of numbers"),
            (np.zeros(3), r"must hold .* found shape \(3,\)"),
            (np.full((3, 2), np.nan), "must hold finite numbers"),
            (np.array([object()]), "is damaged, or no array of numbers"),
        ],
    )
    def test_centroids(self, folder, centroids, message):
        np.save(folder / "centroids.npy", centroids, allow_pickle=True)
        with pytest.raises(ValueError, match=rf"centroids\.npy {message}"):
            cc.read_cre_artifacts(folder)

    def test_half_a_file_of_centroids(self, folder):
        (folder / "centroids.npy").write_bytes((folder / "centroids.npy").read_bytes()[:20])
        with pytest.raises(ValueError, match=r"centroids\.npy is damaged"):
            cc.read_cre_artifacts(folder)

    def test_an_encoder_whose_vectors_are_not_of_unit_length(self, folder):
        np.save(folder / "centroids.npy", 5 * np.load(folder / "centroids.npy"))
        with pytest.raises(ValueError, match=r"encoder=SentenceTransformer\(name\)\.encode"):
            cc.read_cre_artifacts(folder)
        assert cc.read_cre_artifacts(folder, encoder=toy_encoder).models[-1] == "strong"

    def test_an_estimator_for_a_stranger(self, folder):
        with pytest.raises(ValueError, match="estimator for gpt, but the pool holds unused, weak, strong"):
            cc.read_cre_artifacts(folder, encoder=toy_encoder, quality={"gpt": Sure()})
