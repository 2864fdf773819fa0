import numpy as np
import pytest

import cascade_components as cc
from tests.toy import make_rows, toy_encoder


def test_the_ladder_is_ordered_by_accuracy(policy):
    assert policy.models == ("small", "medium", "large")
    assert policy.strongest == "large"


def test_the_cascade_is_as_right_and_cheaper_on_queries_it_has_not_seen(policy, held_out):
    ev = cc.evaluate(policy, held_out)
    assert ev.retention > 0.95
    assert ev.cost < 0.7 * ev.strongest_cost
    assert 0 < ev.escalation_rate < 1


def test_the_estimator_beats_chance_and_is_calibrated(policy, held_out):
    wrong = [row for row in held_out if row["model"] == "medium" and not row["correct"]]
    right = [row for row in held_out if row["model"] == "medium" and row["correct"]]

    def mean_score(found):
        answers = [row.answer for row in cc.load_outcomes(found)]
        return policy.estimators["medium"].predict_proba([row["query"] for row in found], answers).mean()

    assert mean_score(right) > mean_score(wrong) + 0.3


def test_a_fit_is_repeatable(rows, policy):
    assert cc.fit(rows, encoder=toy_encoder, clusters=3, retention=0.97).fingerprint == policy.fingerprint


def test_a_fit_leaves_the_random_state_alone(rows):
    import torch

    torch.manual_seed(1)
    before = torch.get_rng_state()
    cc.fit(rows[:180], encoder=toy_encoder, clusters=3)
    assert torch.equal(before, torch.get_rng_state())


def test_the_number_of_clusters_is_chosen_by_routing_utility(rows):
    policy = cc.fit(rows, encoder=toy_encoder, quality=None)
    assert 3 <= len(policy.centroids) <= 6, "three topics that want three different models"


def test_missing_cells_are_handled(rows, held_out):
    some = [row for number, row in enumerate(rows) if number % 7 != 3]
    ev = cc.evaluate(cc.fit(some, encoder=toy_encoder, clusters=3), held_out)
    assert ev.retention > 0.95


def test_repeated_runs_count_as_soft_labels(rows):
    again = [{**row, "run": 1, "correct": 1 - row["correct"]} for row in rows]
    policy = cc.fit([*rows, *again], encoder=toy_encoder, clusters=3, quality=None, cost_weight=0)
    assert policy.evidence.accuracy == pytest.approx([0.5] * 3)


def test_sequential_uses_silhouette_raw_scores_and_half(rows):
    policy = cc.fit(rows, encoder=toy_encoder, strategy="sequential", retention=0.95)
    gated = [plan for plan in policy.plans() if plan.target]
    assert gated
    assert {plan.threshold for plan in gated} == {0.5}
    assert all(
        found.calibrator.platt is None and found.calibrator.knots is None for found in policy.estimators.values()
    )


@pytest.mark.parametrize("metric", ["tpot_ms", "e2el_ms"])
def test_other_measurements_can_be_the_cost(rows, held_out, metric):
    policy = cc.fit(rows, encoder=toy_encoder, clusters=3, cost=metric, retention=0.95)
    ev = cc.evaluate(policy, held_out)
    assert ev.metric == metric
    assert ev.cost == pytest.approx(ev.to_dict()[metric])
    assert ev.cost < ev.strongest_cost


class Trainable:
    """Counts what it was trained on."""

    def __init__(self):
        self.seen = set()

    def fit(self, queries, answers, correct):
        self.seen = set(queries)

    def predict_proba(self, queries, answers):
        assert not self.seen & set(queries) or len(self.seen) == 300, "scored a query it was trained on"
        return np.array([0.9 if "sure" in answer.text else 0.2 for answer in answers])


def test_an_estimator_of_ones_own_is_trained_out_of_fold(rows):
    mine = Trainable()
    policy = cc.fit(rows, encoder=toy_encoder, clusters=3, quality=mine, retention=0.97)
    assert mine.seen == set(), "the given object is copied, not changed"
    assert any(plan.target for plan in policy.plans())


class TestAddModel:
    def test_a_new_model_joins_and_is_used(self, rows, held_out):
        policy = cc.fit([r for r in rows if r["model"] != "medium"], encoder=toy_encoder, clusters=3)
        joined = cc.add_model(policy, "medium", rows)
        assert joined.models == ("small", "medium", "large")
        assert joined.centroids is policy.centroids
        assert joined.estimators["small"] is policy.estimators["small"]
        before, after = cc.evaluate(policy, held_out), cc.evaluate(joined, held_out)
        assert after.cost < before.cost
        assert after.retention > 0.95

    def test_it_equals_a_fit_of_the_whole_pool(self, rows):
        whole = cc.fit(rows, encoder=toy_encoder, clusters=3, quality=None)
        joined = cc.add_model(
            cc.fit([r for r in rows if r["model"] != "medium"], encoder=toy_encoder, clusters=3, quality=None),
            "medium",
            rows,
        )
        assert joined.point == whole.point
        assert joined.describe().splitlines()[1:] == whole.describe().splitlines()[1:]

    def test_a_few_queries_and_new_ones_will_do(self, stage1_policy, rows):
        few = [{**row, "model": "new"} for row in [*rows[:90], *make_rows(30, prefix="n")] if row["model"] == "large"]
        joined = cc.add_model(stage1_policy, "new", few)
        assert len(joined.evidence.query_ids) == 330
        assert set(joined.models) == {"small", "medium", "large", "new"}

    def test_bad_names(self, stage1_policy, rows):
        with pytest.raises(ValueError, match="in the policy already"):
            cc.add_model(stage1_policy, "small", rows)
        with pytest.raises(ValueError, match="no row of huge, only of large, medium, small"):
            cc.add_model(stage1_policy, "huge", rows)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"budget": 1, "retention": 0.9}, "Give one of"),
        ({"cost": "euros"}, "cost must be one of cost_usd, tpot_ms, e2el_ms; found 'euros'"),
        ({"strategy": "best"}, "strategy must be one of"),
        ({"quality": "magic"}, "quality must be one of embedding, sequence, margins, None, an nn.Module, an object"),
        ({"clusters": 0}, "clusters must be one of auto, a positive int"),
        ({"clusters": 1000}, "1000 clusters need as many distinct queries; there are 300"),
        ({"confidence": 1.5}, "confidence must lie between 0 and 1"),
        ({"confidence": 0.95, "budget": 1.0}, "confidence= certifies a retention, and the target is a budget"),
        ({"gate": "guess"}, "gate must be one of gain, error; found 'guess'"),
        ({"budget": 1e-9}, "the cheapest costs"),
        ({"encoder": lambda texts: np.zeros((1, 3))}, "must return finite vectors of shape"),
    ],
)
def test_bad_arguments_are_refused(rows, kwargs, message):
    with pytest.raises(ValueError, match=message):
        cc.fit(rows, **{"encoder": toy_encoder, "quality": None} | kwargs)


def test_one_model_is_no_cascade(rows):
    with pytest.raises(ValueError, match="at least two models, found small"):
        cc.fit([row for row in rows if row["model"] == "small"], encoder=toy_encoder)


def test_a_cost_that_was_not_measured_is_named(rows):
    bare = [{k: v for k, v in row.items() if k != "cost_usd"} for row in rows]
    with pytest.raises(ValueError, match=r"No outcome of 'large' has cost_usd. Measured there: tpot_ms, e2el_ms"):
        cc.fit(bare, encoder=toy_encoder)


@pytest.fixture(scope="module")
def certified():
    return cc.fit(make_rows(1600), encoder=toy_encoder, clusters=3, quality=None, retention=0.9, confidence=0.9)


class TestConfidence:
    def test_the_policy_carries_its_certificate(self, certified, tmp_path):
        assert certified.certificate.certified
        assert len(certified.evidence.query_ids) + certified.certificate.queries == 1600
        assert str(certified.certificate).splitlines()[0] in certified.describe()
        certified.save(tmp_path / "policy")
        loaded = cc.CascadePolicy.load(tmp_path / "policy", encoder=toy_encoder)
        assert loaded.certificate == certified.certificate

    def test_it_holds_for_no_other_operating_point(self, certified):
        assert certified.at(retention=0.9).certificate is None
        assert certified.reprice({"small": 0.5}).certificate is None
        assert certified.remove_model("medium").certificate is None

    def test_what_cannot_be_certified_always_asks_the_strongest_and_says_so(self, caplog):
        few = make_rows(100)
        policy = cc.fit(few, encoder=toy_encoder, clusters=1, quality=None, retention=0.999, confidence=0.999)
        assert not policy.certificate.certified
        assert {plan.start for plan in policy.plans()} == {policy.strongest}
        assert str(policy.certificate) in caplog.text
