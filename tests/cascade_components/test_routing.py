"""The published figures of arXiv 2606.27457, and what must hold for any pool."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_components.accounting import escalated_cost
from cascade_components.pool import PoolStats, pareto_front
from cascade_components.routing import best_region, crossovers, efficiency, regions, route, stage2_gates

AIME = PoolStats(
    ("VibeThinker-1.5B", "Qwen3-30B-A3B"),
    [[0.130, 0.083, 0.182], [0.063, 0.031, 0.083]],
    [[9.282, 9.348, 8.825], [23.419, 24.070, 26.620]],
    [194, 405, 322],
)
TELEQNA = PoolStats(
    ("Qwen3-4B", "Gemma4-E2B", "Gemma4-26B", "Gemma4-E4B"),
    [[0.297, 0.329], [0.339, 0.390], [0.231, 0.254], [0.293, 0.332]],
    [[15.357] * 2, [20.337] * 2, [25.963] * 2, [26.827] * 2],
    [5211, 3789],
)


class TestAime:
    def test_crossovers(self):
        found = {c.cluster: round(c.cost_weight, 3) for c in crossovers(AIME)}
        assert found == {1: 0.052, 0: 0.067, 2: 0.099}

    def test_regions(self):
        q, v = "Qwen3-30B-A3B", "VibeThinker-1.5B"
        found = regions(AIME)
        assert [region.routing for region in found] == [(q, q, q), (q, v, q), (v, v, q), (v, v, v)]
        # The published errors are rounded to three digits: a tenth of a point may flip.
        assert [100 * region.accuracy for region in found] == pytest.approx([94.4, 92.1, 90.7, 87.3], abs=0.06)
        assert [region.cost for region in found] == pytest.approx([24.8, 18.4, 15.4, 9.2], abs=0.06)
        assert math.isinf(regions(AIME)[-1].high)

    def test_operating_point_under_20_ms(self):
        region = best_region(AIME, budget=20)
        assert region.cost_weight == 0.06
        assert region.routing == ("Qwen3-30B-A3B", "VibeThinker-1.5B", "Qwen3-30B-A3B")
        assert (round(100 * region.accuracy, 1), round(region.cost, 1)) == (92.1, 18.4)

    def test_efficiency_of_each_region(self):
        found = [efficiency(AIME, region) for region in regions(AIME)]
        assert found[0] is None
        assert [round(eta, 2) for eta in found[1:]] == [pytest.approx(0.36, abs=0.011), 0.39, 0.46]

    def test_stage_2_gates_the_cluster_of_the_small_model(self):
        assert stage2_gates(AIME, best_region(AIME, budget=20).routing) == ("Qwen3-30B-A3B", (False, True, False))

    def test_a_budget_below_the_cheapest_names_it(self):
        with pytest.raises(ValueError, match=r"cheapest costs 9\.15"):
            best_region(AIME, budget=5)


class TestTeleQna:
    def test_the_two_small_gemmas_are_pruned(self):
        assert pareto_front(TELEQNA) == ("Qwen3-4B", "Gemma4-26B")

    def test_operating_point_under_20_ms(self):
        pool = TELEQNA.only(pareto_front(TELEQNA))
        assert [round(c.cost_weight, 3) for c in crossovers(pool)] == [0.066, 0.075]
        region = best_region(pool, budget=20)
        assert region.cost_weight == 0.07
        assert region.routing == ("Qwen3-4B", "Gemma4-26B")
        assert (round(100 * region.accuracy, 1), round(region.cost, 1)) == (72.1, 19.8)
        assert round(efficiency(pool, region), 2) == pytest.approx(0.62, abs=0.006)


def test_aime_2024_both_stages():
    """Test figures of the paper: of 30 questions 10 are gated, 0.6 a run escalate and lift the 10 to 96 %."""
    small_tokens, strong_tokens = 76.8 / 0.0048, 180.9 / 0.0118
    escalated = escalated_cost("tpot_ms", 4.8, 11.8, small_tokens, strong_tokens)
    assert round(9.5 + 0.6 / 30 * float(escalated - 4.8), 1) == 9.7
    assert round(100 * (0.864 + 10 / 30 * (0.960 - 0.900)), 1) == 88.4


def test_tpot_of_an_escalated_answer_charges_the_discarded_tokens():
    assert escalated_cost("tpot_ms", 10.0, 20.0, 101, 201) == pytest.approx((10 * 100 + 20 * 200) / 200)
    assert escalated_cost("tpot_ms", 10.0, 20.0, 101, 1) == pytest.approx(10 * 100)
    assert escalated_cost("tpot_ms", 10.0, 20.0, np.nan, 1) == pytest.approx(30.0)


errors = st.integers(0, 1000).map(lambda wrong: wrong / 1000)
costs = st.integers(1, 10_000).map(lambda cents: cents / 100)


@st.composite
def pools(draw):
    models, clusters = draw(st.integers(2, 5)), draw(st.integers(1, 4))
    grid = st.lists(st.lists(errors, min_size=clusters, max_size=clusters), min_size=models, max_size=models)
    per_model = draw(st.lists(costs, min_size=models, max_size=models))
    sizes = draw(st.lists(st.integers(1, 500), min_size=clusters, max_size=clusters))
    names = tuple(f"m{number}" for number in range(models))
    return PoolStats(names, draw(grid), [[cost] * clusters for cost in per_model], sizes)


@given(pools(), st.floats(0, 5))
def test_eq_1_is_the_argmin_up_to_a_tie(stats, cost_weight):
    score = stats.error + cost_weight * stats.cost_norm[:, None]
    for cluster, model in enumerate(route(stats, cost_weight, error_tol=0.0)):
        assert score[stats.models.index(model), cluster] <= score[:, cluster].min() + 1e-6


@given(pools())
def test_regions_cover_the_line_and_cost_falls_along_it(stats):
    found = regions(stats, error_tol=0.0)
    assert found[0].low == 0
    assert math.isinf(found[-1].high)
    assert [r.high for r in found[:-1]] == [r.low for r in found[1:]]
    assert all(a.cost >= b.cost - 1e-9 for a, b in itertools.pairwise(found))
    assert all(a.accuracy >= b.accuracy - 1e-9 for a, b in itertools.pairwise(found))


@given(pools(), st.floats(0, 5))
def test_pruning_never_changes_the_best_score(stats, cost_weight):
    kept = [stats.models.index(model) for model in pareto_front(stats, error_tol=0.0)]
    score = stats.error + cost_weight * stats.cost_norm[:, None]
    assert np.allclose(score[kept].min(0), score.min(0), atol=1e-6)


@given(pools())
def test_the_name_of_a_region_lies_inside_it(stats):
    for region in regions(stats):
        if region.high - region.low > 1e-9:
            assert region.low < region.cost_weight < region.high
            assert route(stats, region.cost_weight) == region.routing
