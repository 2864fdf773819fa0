import numpy as np
import pytest

from cascade_components.evidence import Evidence
from cascade_components.knapsack import best_at_price
from cascade_components.optimism import measure_optimism
from cascade_components.options import weighed_options
from cascade_components.planning import Planner, Target
from cascade_components.worth import Scale


def alike(queries, clusters, models, seed):
    """A pool whose models are equally good everywhere: whatever looks better is luck."""
    rng = np.random.default_rng(seed)
    labels = np.arange(queries) % clusters
    correct = (rng.random((queries, models, 1)) < 0.7).astype(float)
    cost = np.broadcast_to(np.arange(1.0, models + 1)[None, :, None], correct.shape).copy()
    names = tuple(f"m{number}" for number in range(models))
    unknown = np.full(correct.shape, np.nan)
    return Evidence(names, tuple(map(str, range(queries))), labels, correct, cost, unknown, unknown)


def test_luck_is_shrunk_away():
    evidence = alike(600, 12, 8, seed=1)
    raw = np.array([evidence.correct[evidence.labels == c, :, 0].mean(0) for c in range(12)]).T
    table, _ = weighed_options(evidence, "cost_usd")
    assert np.ptp(raw - raw.mean(0), axis=0).mean() > 3 * np.ptp(table.accuracy - table.accuracy.mean(0), axis=0).mean()


def test_folds_take_the_queries_apart():
    evidence = alike(400, 4, 3, seed=2)
    scale = Scale(evidence)
    assert sorted(np.concatenate(scale.folds)) == list(range(400))
    worth = scale.weigh(evidence.correct[:, :, 0].T)
    everything = (evidence.correct[:, :, 0].T - scale.ease).sum()
    assert worth.held_out.sum() == pytest.approx(everything)


def test_optimism_is_what_plans_promise_too_much():
    gaps, measured = [], []
    for seed in range(30):
        evidence = alike(240, 3, 6, seed)
        table, worth = weighed_options(evidence, "cost_usd")
        planner = Planner(table, {}, "joint")
        found = measure_optimism(table, worth, planner.cost, planner.unit)
        chosen = best_at_price(table.accuracy, planner.cost, 0.0)
        gaps.append(table.weights @ table.accuracy[chosen, np.arange(3)] - 0.7)
        measured.append(found.at(0.0))
    assert np.mean(measured) == pytest.approx(np.mean(gaps), abs=0.02)
    assert np.mean(measured) > 0.005


def test_a_retention_is_planned_with_the_optimism_taken_off():
    evidence = alike(240, 3, 6, seed=3)
    table, worth = weighed_options(evidence, "cost_usd")
    bare = Planner(table, {}, "joint")
    honest = Planner(table, {}, "joint", measure_optimism(table, worth, bare.cost, bare.unit))
    assert honest.at(Target(retention=0.99)).cost >= bare.at(Target(retention=0.99)).cost
    for retention in (0.9, 0.95, 0.98, 0.999):
        assert honest.at(Target(retention=retention)).cost <= 6.0
    always = honest.at(Target(retention=1.0))
    assert always.accuracy >= honest.strongest_accuracy - 1e-9
