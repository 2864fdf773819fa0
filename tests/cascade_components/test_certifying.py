import dataclasses

import numpy as np
import pytest

import cascade_components as cc
from cascade_components.certificate import largest_capital, rejected_in_a_row
from cascade_components.certifying import calibration_split, certify
from tests.toy import make_rows


@pytest.fixture(scope="module")
def unseen():
    return cc.load_outcomes(make_rows(1000, seed=2, prefix="c"))


@pytest.fixture(scope="module")
def found(policy, unseen):
    return certify(policy, unseen, retention=0.95, confidence=0.95)


def without(outcomes, model, count):
    """The outcomes, this model's first ones missing."""
    gone = list(outcomes.queries)[:count]
    return outcomes.where(lambda row: row.model != model or row.query_id not in gone)


def test_a_certified_policy_saves_and_the_certificate_tells_the_truth(found, unseen):
    policy, certificate = found
    ev = cc.evaluate(policy, unseen)
    assert certificate.certified
    assert certificate.plan.cost_share == pytest.approx(ev.cost / ev.strongest_cost)
    assert certificate.plan.retention == pytest.approx(ev.retention)
    assert certificate.plan.cost_share < 0.6
    assert (certificate.queries, certificate.skipped, certificate.strongest) == (1000, 0, "large")


def test_the_sequence_goes_from_the_safest_down_to_the_first_that_stands(found):
    _, certificate = found
    expected = [plan.expected_retention for plan in certificate.tested]
    passed = [plan.p_value <= 0.05 + 1e-9 for plan in certificate.tested]
    assert expected == sorted(expected, reverse=True)
    assert all(passed[:-1])


def test_what_the_retention_alone_plans_is_bounded(policy, found):
    _, certificate = found
    planned = policy.at(retention=0.95)
    assert certificate.planned.expected_retention == pytest.approx(
        planned.point.accuracy / planned.planner.strongest_accuracy
    )
    assert 0.8 < certificate.planned_bound < certificate.planned.retention


def test_the_claim_holds_in_nearly_all_draws(policy):
    """Samples of a population whose retentions are known, and a claim that one point just misses."""
    confidence, rng = 0.9, np.random.default_rng(0)
    curve = cc.sweep(policy, make_rows(3000, seed=3, prefix="p"))[::-1]
    system = np.stack([point.per_query["accuracy"] for point in curve])
    strongest = curve[0].per_query["strongest_accuracy"]
    retention = system.mean(1) / strongest.mean()
    cost = np.array([point.cost / point.strongest_cost for point in curve])
    claim = retention[retention < 0.9][0] + 1e-6
    broken, costs = [], []
    for _ in range(40):
        sample = rng.integers(3000, size=(10, 400))
        capital = largest_capital(system[:, sample], strongest[sample], claim, confidence)
        for column in capital.T:
            passed = rejected_in_a_row(1 / column, confidence)
            broken.append(passed > 0 and retention[passed - 1] < claim)
            costs.append(cost[passed - 1] if passed else 1.0)
    assert 0.03 < np.mean(broken) <= 0.1 + 3 * np.sqrt(0.09 / 400)
    assert np.mean(costs) < 0.5


def test_too_few_queries_leave_the_strongest_and_say_so(policy, unseen):
    few = unseen.where(lambda row: int(row.query_id[1:]) < 20)
    safe, certificate = certify(policy, few, retention=0.95, confidence=0.95)
    assert {str(plan) for plan in safe.plans()} == {"large"}
    assert cc.evaluate(safe, few).retention == 1
    assert not certificate.certified
    assert "20 calibration queries are too few" in str(certificate)


def test_what_the_queries_do_not_support_leaves_the_strongest(policy, unseen):
    some = unseen.where(lambda row: int(row.query_id[1:]) < 60)
    safe, certificate = certify(policy, some, retention=1.0, confidence=0.99)
    assert safe.last_resorts == ("large",)
    assert safe.point.accuracy == pytest.approx(policy.planner.strongest_accuracy)
    assert not certificate.certified
    assert len(certificate.tested) == 1


def test_queries_without_the_outcomes_needed_are_left_out_and_counted(policy, unseen):
    _, certificate = certify(policy, without(unseen, "large", 100), retention=0.95, confidence=0.95)
    assert (certificate.queries, certificate.skipped) == (900, 100)
    assert certificate.certified


def test_a_plan_without_enough_queries_stands_and_ends_the_sequence(policy, unseen):
    _, whole = certify(policy, unseen, retention=0.95, confidence=0.95)
    _, certificate = certify(policy, without(unseen, "small", 990), retention=0.95, confidence=0.95)
    assert len(certificate.tested) < len(whole.tested)
    with_few = without(unseen, "large", 980)
    assert "too few" in str(certify(policy, with_few, retention=0.95, confidence=0.95)[1])


def test_a_pool_in_which_nothing_is_cheaper_has_nothing_to_test(policy, unseen):
    alone = policy.remove_model("small").remove_model("medium")
    safe, certificate = certify(alone, unseen, retention=0.95, confidence=0.95)
    assert safe.point == alone.point
    assert (certificate.tested, certificate.planned) == ((), None)
    assert "no plan is cheaper" in str(certificate)


def test_prices_count(policy, unseen):
    dear = policy.reprice({"small": 30.0, "medium": 30.0})
    safe, certificate = certify(dear, unseen, retention=0.95, confidence=0.95)
    assert not certificate.certified
    assert safe.last_resorts == ("large",)


def test_a_certificate_is_the_same_every_time(policy, found, unseen):
    again = certify(policy, unseen, retention=0.95, confidence=0.95)
    assert again[1] == found[1]
    assert again[0].point == found[0].point


def test_stage_1_alone_and_the_sequential_strategy_are_certified_too(stage1_policy, unseen):
    for policy in (stage1_policy, dataclasses.replace(stage1_policy, strategy="sequential")):
        certified, certificate = certify(policy, unseen, retention=0.9, confidence=0.95)
        assert certificate.certified
        assert cc.evaluate(certified, unseen).retention > 0.9


def test_queries_of_the_fit_prove_nothing(policy, rows):
    with pytest.raises(ValueError, match="300 of the 300 queries to certify on were used to fit"):
        certify(policy, rows, retention=0.95, confidence=0.95)


@pytest.mark.parametrize(
    ("retention", "confidence", "message"),
    [(0.0, 0.95, "above 0"), (1.01, 0.95, "at most 1"), (0.95, 1.0, "between 0 and 1"), (0.95, 95, "between 0 and 1")],
)
def test_numbers_that_cannot_be_claimed_are_refused(policy, unseen, retention, confidence, message):
    with pytest.raises(ValueError, match=message):
        certify(policy, unseen, retention=retention, confidence=confidence)


def test_the_split_is_by_query_and_apart_from_a_users_own(unseen):
    train, held_out = calibration_split(unseen, 0.4)
    assert not train.queries.keys() & held_out.queries.keys()
    assert len(train) + len(held_out) == len(unseen)
    assert 0.35 < len(held_out.queries) / 1000 < 0.45
    mine, _ = unseen.split(0.5)
    shared = len(mine.queries.keys() & held_out.queries.keys()) / len(mine.queries)
    assert 0.3 < shared < 0.5
