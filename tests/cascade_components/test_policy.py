import json
import pickle
import threading

import pytest

import cascade_components as cc
from tests.toy import make_rows, toy_encoder


def test_a_policy_round_trips(policy, held_out, tmp_path):
    policy.save(tmp_path / "policy")
    loaded = cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder)
    assert loaded.fingerprint == policy.fingerprint
    assert loaded.describe() == policy.describe()
    assert cc.evaluate(loaded, held_out).to_dict() == cc.evaluate(policy, held_out).to_dict()


def test_only_data_is_written_and_nothing_else_is_left(policy, tmp_path):
    policy.save(tmp_path / "policy")
    policy.save(tmp_path / "policy")
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]
    assert {path.suffix for path in (tmp_path / "policy").iterdir()} == {".json", ".safetensors"}


def test_a_folder_of_something_else_is_not_overwritten(policy, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="no policy folder"):
        policy.save(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


class TestLoadErrors:
    @pytest.fixture
    def folder(self, policy, tmp_path):
        policy.save(tmp_path / "policy")
        return tmp_path / "policy"

    def test_no_policy(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="holds no policy"):
            cc.CascadePolicy.load(tmp_path)

    def test_a_damaged_file_is_named(self, folder):
        next(folder.glob("options-*.safetensors")).write_bytes(b"x")
        with pytest.raises(ValueError, match=r"options-\w+\.safetensors is damaged"):
            cc.CascadePolicy.load(folder, encoder=toy_encoder)

    def test_a_newer_format(self, folder):
        facts = json.loads((folder / "policy.json").read_text())
        (folder / "policy.json").write_text(json.dumps(facts | {"format": 99}))
        with pytest.raises(ValueError, match="format 99"):
            cc.CascadePolicy.load(folder, encoder=toy_encoder)

    def test_half_an_index(self, folder):
        (folder / "policy.json").write_text((folder / "policy.json").read_text()[:100])
        with pytest.raises(ValueError, match="damaged"):
            cc.CascadePolicy.load(folder, encoder=toy_encoder)

    def test_a_callable_encoder_is_given_again(self, folder):
        with pytest.raises(ValueError, match="encoder=that callable"):
            cc.CascadePolicy.load(folder)


class AlwaysSure:
    def predict_proba(self, queries, answers):
        return [0.9 if "sure" in str(answer) else 0.1 for answer in answers]


def test_an_estimator_of_ones_own_is_given_again(rows, tmp_path):
    policy = cc.fit(rows, encoder=toy_encoder, clusters=3, quality=AlwaysSure())
    policy.save(tmp_path / "p")
    with pytest.raises(ValueError, match="quality=that estimator"):
        cc.CascadePolicy.load(tmp_path / "p", encoder=toy_encoder)
    loaded = cc.CascadePolicy.load(tmp_path / "p", encoder=toy_encoder, quality=AlwaysSure())
    assert loaded.fingerprint == policy.fingerprint


def test_at_moves_along_the_front_without_refitting(policy):
    cheap = policy.at(budget=0.003)
    assert cheap.point.cost <= 0.003
    assert cheap.point.accuracy < policy.point.accuracy
    assert cheap.estimators is policy.estimators
    assert cheap.fingerprint != policy.fingerprint
    assert cheap.at(retention=0.97).fingerprint == policy.fingerprint


def test_removing_a_model_keeps_clusters_and_estimators(policy):
    fewer = policy.remove_model("medium")
    assert fewer.models == ("small", "large")
    assert fewer.centroids is policy.centroids
    assert fewer.estimators["small"] is policy.estimators["small"]
    assert all("medium" not in str(plan) for plan in fewer.plans())
    with pytest.raises(ValueError, match="last model"):
        fewer.remove_model("small").remove_model("large")
    with pytest.raises(ValueError, match="medium not in the policy"):
        fewer.remove_model("medium")


def test_a_new_price_changes_the_plan(policy):
    free = policy.reprice({"large": 0.05})
    assert free.point.cost < policy.point.cost
    assert free.reprice({"large": 1.0}).point == policy.point
    with pytest.raises(ValueError, match="positive number"):
        policy.reprice({"large": 0})
    with pytest.raises(ValueError, match="huge not in the policy"):
        policy.reprice({"huge": 1})


def test_the_price_of_a_call_is_read_off_the_outcomes():
    rows = make_rows(60)
    for number, row in enumerate(rows):
        row["input_tokens"] = 50 + number % 31
        row["cost_usd"] = 1e-6 * row["input_tokens"] + 4e-6 * row["output_tokens"]
    policy = cc.fit(rows, encoder=toy_encoder, clusters=3, quality=None)
    assert policy.cost_usd("small", 1000, 1000) == pytest.approx(5e-3)
    assert policy.reprice({"small": 0.5}).cost_usd("small", 1000, 1000) == pytest.approx(2.5e-3)


def test_a_model_that_is_out_is_planned_around(policy):
    cascade = cc.Cascade(policy)
    trace = cascade.start("poems question 1", available={"small", "medium"})
    assert trace.model in {"small", "medium"}
    assert "without large" in trace.reason


def test_a_query_out_of_the_map_goes_to_the_strongest(policy):
    trace = cc.Cascade(policy).start("sums poems code sure perhaps " * 3)
    assert (trace.model, trace.cluster) == ("large", None)
    assert "far from every cluster" in trace.reason


def test_describe_is_a_table_of_every_cluster(policy):
    text = policy.describe()
    assert "small, medium, large (weakest first)" in text
    assert len(text.splitlines()) == 5 + len(policy.plans())


def test_one_policy_serves_many_threads(policy):
    cascade, wrong = cc.Cascade(policy), []

    def ask(number):
        topic = ("sums", "poems", "code")[number % 3]
        trace = cascade.start(f"{topic} question {number}")
        if str(policy.plans()[trace.cluster].start) != trace.path[0]:
            wrong.append(trace)
        while not trace.done:
            trace = cascade.judge(trace, "perhaps")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_cheaper_points_lead_to_the_cheapest(policy):
    points = [policy.cheaper(step / 8) for step in range(9)]
    costs = [point.point.cost for point in points]
    assert points[0] is policy
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == policy.front()[0].point.cost
    assert costs[-1] < costs[0]


def test_last_resorts_are_the_models_whose_answers_stand(policy):
    ends = {plan.target or plan.start for plan in policy.plans()}
    assert set(policy.last_resorts) == ends | {policy.strongest}
    assert list(policy.last_resorts) == [model for model in policy.models if model in policy.last_resorts]


def test_expected_output_tokens_are_those_of_the_outcomes(policy):
    assert 20 <= policy.expected_output_tokens("small") <= 26


def test_a_policy_can_be_pickled(policy):
    assert pickle.loads(pickle.dumps(policy)).fingerprint == policy.fingerprint
