import pytest

import cascade_components as cc
from cascade_cli.comparison import compare
from tests.toy import COST, make_rows, toy_encoder


@pytest.fixture(scope="module")
def results():
    policy = cc.fit(make_rows(), encoder=toy_encoder, clusters=3)
    return compare(policy, cc.load_outcomes(make_rows(seed=1, prefix="t")))


def test_every_model_alone_a_mix_and_three_operating_points(results):
    assert list(results) == [*(f"always:{m}" for m in COST), "random mix", "cascade:0.90", "cascade", "cascade:0.98"]
    for row in results.values():
        assert {"accuracy", "cost", "e2el_ms", "tpot_ms"} <= set(row)


def test_models_alone_are_their_means(results):
    assert results["always:small"]["cost"] == pytest.approx(COST["small"], rel=0.05)
    assert results["always:large"]["accuracy"] > results["always:small"]["accuracy"]


def test_the_mix_costs_what_the_cascade_costs_and_is_right_less_often(results):
    assert results["random mix"]["cost"] == pytest.approx(results["cascade"]["cost"])
    assert results["random mix"]["accuracy"] < results["cascade"]["accuracy"]


def test_the_points_are_ordered(results):
    costs = [results[name]["cost"] for name in ("cascade:0.90", "cascade", "cascade:0.98")]
    assert costs == sorted(costs)
